# Everything the project links, found in one place, as imported targets. Debian 12 ships CMake packages for some
# and pkg-config files for the rest.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(nlohmann_json 3.10 REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(PNG REQUIRED)
pkg_check_modules(OPENBLAS REQUIRED IMPORTED_TARGET openblas)
find_package(SentencePiece REQUIRED)
if(NOT TARGET PkgConfig::SENTENCEPIECE)
  add_library(PkgConfig::SENTENCEPIECE ALIAS SentencePiece::SentencePiece)
endif()
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
# Headers alone: Asio's sockets and Beast's HTTP parser, for `seer serve`. Their code is compiled once, in
# tools/seer/serve/http/boost_sources.cc.
find_package(Boost 1.74 CONFIG REQUIRED)
add_library(seer_boost INTERFACE)
target_link_libraries(seer_boost INTERFACE Boost::headers)
target_compile_definitions(seer_boost INTERFACE BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION
                                                BOOST_ASIO_NO_DEPRECATED BOOST_ERROR_CODE_HEADER_ONLY)
if(SEER_SANITIZE MATCHES "thread")
  # ThreadSanitizer knows no fences. They order what several threads of one io_context do; `seer serve` has one.
  target_compile_definitions(seer_boost INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK)
endif()
if(SEER_BUILD_TESTS)
  find_package(Catch2 QUIET)  # 2.13 (Debian 12) and 3.x (Ubuntu 24.04) both work
  if(NOT Catch2_FOUND)
    message(FATAL_ERROR "The tests need Catch2, which was not found. Run 'tools/install_deps.sh test', install catch2, "
                        "or build without tests: -DSEER_BUILD_TESTS=OFF.")
  endif()
endif()

# The GPU and cluster parts are found, never required, unless asked for by ON.
set(SEER_HAVE_CUDA OFF)
if(NOT SEER_CUDA STREQUAL "OFF")
  find_program(SEER_NVCC nvcc HINTS /usr/local/cuda/bin $ENV{CUDA_HOME}/bin)
  if(SEER_NVCC)
    set(SEER_HAVE_CUDA ON)
  elseif(SEER_CUDA STREQUAL "ON")
    message(FATAL_ERROR "SEER_CUDA=ON, but nvcc was not found. Install the CUDA Toolkit (12.4 or newer) or put "
                        "its bin folder on PATH; SEER_CUDA=AUTO builds without it.")
  endif()
endif()
set(SEER_HAVE_MPI OFF)
if(NOT SEER_MPI STREQUAL "OFF")
  find_package(MPI QUIET COMPONENTS CXX)
  if(MPI_CXX_FOUND)
    set(SEER_HAVE_MPI ON)
  elseif(SEER_MPI STREQUAL "ON")
    message(FATAL_ERROR "SEER_MPI=ON, but MPI was not found. Install libopenmpi-dev; SEER_MPI=AUTO builds without it.")
  endif()
endif()
# Its header alone, where the toolkit is too: the library is opened at run time.
set(SEER_HAVE_NCCL OFF)
if(SEER_HAVE_CUDA AND NOT SEER_NCCL STREQUAL "OFF")
  get_filename_component(nccl_hint ${SEER_NVCC} DIRECTORY)
  find_path(SEER_NCCL_INCLUDE_DIR nccl.h HINTS ${nccl_hint}/../include $ENV{NCCL_HOME}/include)
  find_library(SEER_NCCL_LIBRARY NAMES libnccl.so.2 nccl
    HINTS ${nccl_hint}/../lib64 ${nccl_hint}/../lib $ENV{NCCL_HOME}/lib)
  mark_as_advanced(SEER_NCCL_INCLUDE_DIR SEER_NCCL_LIBRARY)
  if(SEER_NCCL_INCLUDE_DIR)
    set(SEER_HAVE_NCCL ON)
    if(NOT SEER_NCCL_LIBRARY)
      set(SEER_NCCL_LIBRARY libnccl.so.2)
    endif()
  endif()
endif()
if(SEER_NCCL STREQUAL "ON" AND NOT SEER_HAVE_NCCL)
  message(FATAL_ERROR "SEER_NCCL=ON, but NCCL's header was not found beside a CUDA Toolkit. Install libnccl-dev or name "
                      "its prefix in NCCL_HOME; SEER_NCCL=AUTO builds for one GPU without it.")
endif()
message(STATUS "Found the CUDA Toolkit: ${SEER_HAVE_CUDA}, MPI: ${SEER_HAVE_MPI}, NCCL: ${SEER_HAVE_NCCL}")
