// Replaces NCCL in a build without it.
#include "kernels/comm/nccl.h"

namespace seer {

std::unique_ptr<Communicator> make_nccl_communicator(Communicator*, Backend*) {
  throw Error(
      ErrorKind::kUnsupported,
      "this build computes on one GPU only, for NCCL's header was not found when it was configured; install "
      "libnccl-dev and build again (SEER_NCCL=ON insists), or run the ranks with --device cpu");
}

}  // namespace seer
