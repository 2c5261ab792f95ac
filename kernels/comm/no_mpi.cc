// Replaces MPI in a build without it.
#include "kernels/comm/launcher.h"
#include "kernels/comm/mpi.h"

namespace seer {

std::unique_ptr<Communicator> make_mpi_communicator() {
  throw Error(ErrorKind::kUnsupported,
              "mpirun started " + std::to_string(launched_ranks()) +
                  " ranks, but this build has no MPI, for it was not found when it was configured; install "
                  "libopenmpi-dev and build again, or run several ranks of one machine with --tp");
}

}  // namespace seer
