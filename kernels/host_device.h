// Marks functions that GPU code calls as well; nothing where a C++ compiler reads them.
#pragma once

#if defined(__CUDACC__)
#define SEER_HOST_DEVICE __host__ __device__
#else
#define SEER_HOST_DEVICE
#endif
