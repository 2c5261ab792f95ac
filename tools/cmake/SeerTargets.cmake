# Settings that all targets of this project share, and the function that adds the library of a folder.
include(GNUInstallDirs)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Release, Debug or RelWithDebInfo" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)

find_program(SEER_CCACHE ccache)
if(SEER_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${SEER_CCACHE})
endif()

# The build fails if a folder includes from one above it (kernels/ from engine/, for example).
find_package(Python3 QUIET COMPONENTS Interpreter)
if(NOT Python3_FOUND)
  message(FATAL_ERROR "The build runs scripts of Python 3, which was not found. Run 'tools/install_deps.sh build', install "
                      "python3, or name an interpreter with -DPython3_EXECUTABLE.")
endif()
add_custom_command(OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/includes-checked
  COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/tools/check_includes.py ${CMAKE_CURRENT_SOURCE_DIR}
    --stamp ${CMAKE_CURRENT_BINARY_DIR}/includes-checked --depfile ${CMAKE_CURRENT_BINARY_DIR}/includes-checked.d
  DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/tools/check_includes.py
  DEPFILE ${CMAKE_CURRENT_BINARY_DIR}/includes-checked.d
  COMMENT "Checking that no folder includes from one above it")
add_custom_target(seer_check_includes ALL DEPENDS ${CMAKE_CURRENT_BINARY_DIR}/includes-checked)

# Warnings are errors, but not if Seer is a part of another project, whose compiler may have warnings that were never tried.
if(PROJECT_IS_TOP_LEVEL AND NOT DEFINED CMAKE_COMPILE_WARNING_AS_ERROR)
  set(CMAKE_COMPILE_WARNING_AS_ERROR ON)
endif()

# The run time library of clang's sanitizers is in a package of its own. If it is missing, this says so; otherwise the build would
# fail when it links the first program.
if(SEER_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  include(CheckCXXSourceCompiles)
  set(CMAKE_REQUIRED_FLAGS -fsanitize=${SEER_SANITIZE})
  check_cxx_source_compiles("int main() { return 0; }" SEER_CLANG_RUN_TIME)
  unset(CMAKE_REQUIRED_FLAGS)
  if(NOT SEER_CLANG_RUN_TIME)
    message(FATAL_ERROR "clang ${CMAKE_CXX_COMPILER_VERSION} cannot link with -fsanitize=${SEER_SANITIZE}: its run time library "
                        "was not found. Run 'tools/install_deps.sh test', or install libclang-rt-dev.")
  endif()
endif()

function(seer_target_defaults target)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow>
                                           $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)  # false for "text" + std::string (GCC bug 105651)
  endif()
  # Builds in which speed does not matter have the standard library's checks of bounds and preconditions.
  if(SEER_SANITIZE OR CMAKE_BUILD_TYPE STREQUAL "Debug")
    target_compile_definitions(${target} PRIVATE _GLIBCXX_ASSERTIONS)
  endif()
  if(SEER_SANITIZE)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${SEER_SANITIZE}
                                             -fno-omit-frame-pointer -fno-sanitize-recover=all>)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # GCC's documentation says sanitizers give false positives here; GCC 12 reports one inside <regex>.
      target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wno-maybe-uninitialized>)
    endif()
    target_link_options(${target} PUBLIC -fsanitize=${SEER_SANITIZE})
  endif()
  add_dependencies(${target} seer_check_includes)
endfunction()

# seer_read_once(seer_models <nlohmann/json.hpp>) precompiles these headers, and others that most sources include, for the sources of
# the target. This saves a quarter of their compilation. Only clang's builds with sanitizers do so, without ccache: the release
# build is to find includes that are missing, ccache refuses precompiled headers unless it is told to be sloppy, and GCC 12 gives
# false warnings about std::string if it is precompiled.
function(seer_read_once target)
  if(SEER_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND NOT CMAKE_CXX_COMPILER_LAUNCHER MATCHES "ccache")
    target_precompile_headers(${target} PRIVATE
      <algorithm> <functional> <map> <memory> <optional> <span> <stdexcept> <string> <vector> ${ARGN})
  endif()
endfunction()

# seer_add_folder(kernels SOURCES a.cc b.cc DEPENDS seer_x) adds the static library seer_kernels, of that folder's sources.
# Includes are written from the project's root: "kernels/tensor.h". READ_ONCE names headers for seer_read_once.
function(seer_add_folder name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;READ_ONCE" ${ARGN})
  add_library(seer_${name} STATIC ${ARG_SOURCES})
  target_include_directories(seer_${name} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/engine/include
                                                 ${PROJECT_BINARY_DIR}/engine/include)
  target_link_libraries(seer_${name} PUBLIC ${ARG_DEPENDS})
  seer_target_defaults(seer_${name})
  seer_read_once(seer_${name} ${ARG_READ_ONCE})
endfunction()
