// Calls of CUDA and cuBLASLt that fail at a chosen moment: the program is linked so that the library's calls
// go through this file (the linker's --wrap), which counts them, and fails them when it is told to.
#pragma once

#include <cstdint>
#include <string>

namespace seer::testing {

enum class CudaCalls {
  kMemory,  // allocations of device memory and of pinned host memory, which fail for want of room
  kWork,    // launches, copies, recordings, waits and the creation of their objects, as a GPU's fault fails
            // them
};

// From its construction to its end, the call of this index fails, counted from 0, and if it is lasting, all
// after it; of index -1: all from now on. One at a time.
class CudaFault {
 public:
  CudaFault(CudaCalls calls, int64_t index, bool lasting);
  ~CudaFault();
  CudaFault(const CudaFault&) = delete;
  CudaFault& operator=(const CudaFault&) = delete;

  static int64_t n_called();           // since the last fault was constructed
  static const std::string& struck();  // the function that was the first to fail; empty if none was
};

// Allocations of device memory and of pinned host memory that have not been freed.
int64_t n_cuda_allocations();

}  // namespace seer::testing
