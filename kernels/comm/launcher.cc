#include "kernels/comm/launcher.h"

#include <algorithm>
#include <cstdlib>

#include "kernels/comm/mpi.h"

namespace seer {

int launched_ranks() {
  // These are set by Open MPI's mpirun, by launchers of the PMI kind (MPICH, Slurm), and by srun if a step
  // has several tasks.
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"})
    if (const char* text = std::getenv(name))
      return std::max(1, std::atoi(text));  // NOLINT(cert-err34-c): 0, for no number, counts as 1
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  const bool pmix = std::getenv("PMIX_NAMESPACE") != nullptr;
  return pmix && tasks != nullptr ? std::max(1, std::atoi(tasks)) : 1;  // NOLINT(cert-err34-c)
}

bool started_by_mpi() { return launched_ranks() > 1; }

}  // namespace seer
