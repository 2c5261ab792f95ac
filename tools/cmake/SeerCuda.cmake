# Enables the CUDA language. Every .cu is compiled to machine code for Ampere (sm_80, which sm_86 and sm_89 run too) and for Hopper
# (sm_90a, which has its own instructions), and to PTX, which the drivers of newer GPUs compile.
set(CMAKE_CUDA_COMPILER ${SEER_NVCC})
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 90-virtual)
endif()
enable_language(CUDA)
# CUDA sources are compiled as C++20, as the C++ sources are. CMake 3.25 does not know nvcc's flag for this.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
find_package(CUDAToolkit 12.4 REQUIRED)
# cuBLASLt is not linked. It is opened when a GPU is used first: by its soname, and if the loader does not find that, from this file.
if(NOT DEFINED SEER_CUBLASLT_LIBRARY)
  find_library(SEER_CUBLASLT_LIBRARY NAMES libcublasLt.so.${CUDAToolkit_VERSION_MAJOR} cublasLt
    HINTS ${CUDAToolkit_LIBRARY_DIR} NO_DEFAULT_PATH)
  mark_as_advanced(SEER_CUBLASLT_LIBRARY)
endif()
if(NOT SEER_CUBLASLT_LIBRARY)
  set(SEER_CUBLASLT_LIBRARY libcublasLt.so.${CUDAToolkit_VERSION_MAJOR})
endif()
if(SEER_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${SEER_CCACHE})
endif()
