# The CUDA language and how every .cu is compiled: machine code for Ampere (sm_80, which sm_86 and sm_89 run too) and
# Hopper (sm_90a, with its own instructions), and PTX that the drivers of newer GPUs compile.
set(CMAKE_CUDA_COMPILER ${SEER_NVCC})
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 90-virtual)
endif()
enable_language(CUDA)
# CMake 3.25 does not know the flag of nvcc 12 and newer, which takes C++20 from the project as C++ files do.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
find_package(CUDAToolkit 12.4 REQUIRED)
if(SEER_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${SEER_CCACHE})
endif()
