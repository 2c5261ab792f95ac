// Marks functions that GPU code calls as well. For compilers other than nvcc the mark is empty.
#pragma once

#if defined(__CUDACC__)
#define SEER_HOST_DEVICE __host__ __device__
#else
#define SEER_HOST_DEVICE
#endif
