#include "kernels/cuda/device.h"

#include <cuda_runtime.h>

#include <cstdlib>

#include "kernels/cuda/check.h"

namespace seer::cuda {
namespace {

std::string version(int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); }

[[noreturn]] void refuse(const std::string& why) { throw Error(ErrorKind::kDevice, why); }

void check_driver() {
  int driver = 0, runtime = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  if (driver == 0)
    refuse("no NVIDIA driver is installed: expected one for CUDA " + version(runtime) + " or newer");
  if (driver < runtime)
    refuse("the NVIDIA driver is too old: expected one for CUDA " + version(runtime) +
           " or newer, found one for CUDA " + version(driver) +
           "; update the driver, or build with an older CUDA Toolkit");
}

}  // namespace

Device Device::open(int index) {
  check_driver();
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    refuse("no NVIDIA GPU was found" +
           (visible == nullptr ? std::string() : " with CUDA_VISIBLE_DEVICES=" + std::string(visible)));
  }
  check(error, "cudaGetDeviceCount");
  if (index < 0 || index >= count)
    refuse("expected a GPU from cuda:0 to cuda:" + std::to_string(count - 1) +
           ", found cuda:" + std::to_string(index));
  cudaDeviceProp properties = {};
  check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  Device d;
  d.index = index;
  d.name = properties.name;
  d.compute_major = properties.major;
  d.compute_minor = properties.minor;
  d.n_multiprocessors = properties.multiProcessorCount;
  d.max_shared_bytes = static_cast<int>(properties.sharedMemPerBlockOptin) - 1024;
  d.total_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  if (d.compute_major < 8)
    refuse(d.name + " is too old: expected compute capability 8.0 or newer (Ampere), found " +
           std::to_string(d.compute_major) + "." + std::to_string(d.compute_minor));
  check(cudaSetDevice(index), "cudaSetDevice");
  return d;
}

}  // namespace seer::cuda
