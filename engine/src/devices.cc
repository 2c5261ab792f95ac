#include "engine/src/devices.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "kernels/comm/nccl.h"
#include "seer/error.h"

namespace seer {
namespace {

[[noreturn]] void refuse_device(const std::string& device) {
  throw Error(ErrorKind::kUsage, "expected device auto, cpu, cuda or cuda:N, found '" + device + "'");
}

// Returns the N of "cuda:N", or `any` for "cuda". Throws Error{kUsage} for other names.
int cuda_index(const std::string& device, int any) {
  constexpr std::string_view kPrefix = "cuda:";
  if (device == "cuda") return any;
  if (!device.starts_with(kPrefix)) refuse_device(device);
  int index = 0;
  const char *begin = device.data() + kPrefix.size(), *end = device.data() + device.size();
  const auto [stopped, error] = std::from_chars(begin, end, index);
  if (error != std::errc() || stopped != end || index < 0) refuse_device(device);
  return index;
}

// Returns whether a GPU rounds inputs of products as the format of their weights says.
bool rounds_on_gpu(Activations activations) { return activations == Activations::kAuto; }

// Opens a GPU that the user named. If it cannot be used, this does not fall back to the CPU: the error leaves
// that choice to the user.
std::unique_ptr<Backend> open_cuda(const std::string& device, bool round_inputs) {
  const int index = cuda_index(device, 0);
  try {
    return make_cuda_backend(index, round_inputs);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kDevice) throw;
    throw Error(ErrorKind::kDevice, "device '" + device + "' cannot be used: " + error.what() +
                                        ". Choose another, or run on the CPU with --device cpu.");
  }
}

}  // namespace

std::unique_ptr<Backend> open_device(const std::string& device, int threads, Activations activations,
                                     const std::function<void(const std::string&)>& warn) {
  if (device.starts_with("cuda")) return open_cuda(device, rounds_on_gpu(activations));
  if (device != "auto" && device != "cpu") refuse_device(device);
  if (device == "auto" && built_with_cuda()) {
    try {
      return make_cuda_backend(0, rounds_on_gpu(activations));
    } catch (const Error& error) {
      warn(std::string("running on the CPU: ") + error.what());
    }
  }
  return make_cpu_backend(threads, false, activations == Activations::kBF16);
}

std::unique_ptr<Backend> open_rank_device(const std::string& device, int threads, Activations activations,
                                          const Communicator& comm) {
  if (device == "cpu") return make_cpu_backend(threads, false, activations == Activations::kBF16);
  return make_cuda_backend(cuda_index(device, comm.local_rank() % std::max(1, cuda_device_count())),
                           rounds_on_gpu(activations));
}

std::unique_ptr<Communicator> connect_devices(Communicator* comm, Backend* backend) {
  return backend->stream() ? make_nccl_communicator(comm, backend) : nullptr;
}

}  // namespace seer
