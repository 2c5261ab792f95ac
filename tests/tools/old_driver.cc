// A library in place of NVIDIA's driver that reports CUDA 12.0, to test drivers older than the toolkit.
extern "C" {
__attribute__((visibility("default"))) int cuInit(unsigned) { return 0; }
__attribute__((visibility("default"))) int cuDriverGetVersion(int* version) {
  *version = 12000;
  return 0;
}
}
