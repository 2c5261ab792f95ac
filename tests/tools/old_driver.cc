// A library in the place of NVIDIA's driver that says it is one for CUDA 12.0, for the test of drivers older
// than the toolkit.
extern "C" {
__attribute__((visibility("default"))) int cuInit(unsigned) { return 0; }
__attribute__((visibility("default"))) int cuDriverGetVersion(int* version) {
  *version = 12000;
  return 0;
}
}
