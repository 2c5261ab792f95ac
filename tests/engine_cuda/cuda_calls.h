// Makes calls of CUDA and cuBLASLt fail at a chosen moment. The linker's --wrap and the table of cuBLASLt's
// functions send the library's calls through this file, which counts them and fails those that it is told to.
#pragma once

#include <cstdint>
#include <string>

namespace seer::testing {

enum class CudaCalls {
  kMemory,  // allocations of device memory and of pinned host memory, which fail for lack of memory
  kWork,  // launches, copies, recordings, waits and the creation of their objects, which fail if the GPU has
          // a fault
};

// While it exists, the call of this index fails (counted from 0), and if it is lasting, all later ones too.
// With index -1 all calls fail. Only one may exist at a time.
class CudaFault {
 public:
  CudaFault(CudaCalls calls, int64_t index, bool lasting);
  ~CudaFault();
  CudaFault(const CudaFault&) = delete;
  CudaFault& operator=(const CudaFault&) = delete;

  static int64_t n_called();           // calls since the last fault was constructed
  static const std::string& struck();  // the name of the first function that failed; empty if none did
};

// Returns how many allocations of device memory and of pinned host memory have not been freed.
int64_t n_cuda_allocations();

}  // namespace seer::testing
