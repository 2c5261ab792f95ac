# cpack -G DEB builds packages for the Debian or Ubuntu on which it runs. tools/package.sh does so in one command, and
# tools/package/README.md describes the packages. They are meant to be built from the preset `package` or `package-cuda`.
#   seer                 the program, its manual page and completions
#   libseer-engine0      the shared library; the number is that of its SONAME
#   libseer-engine-dev   headers, the static library, and the files that find_package and pkg-config read
# With the CUDA backend they are called seer-cuda, libseer-engine0-cuda and libseer-engine-cuda-dev; each replaces the one without.
set(SEER_PACKAGE_REVISION 1 CACHE STRING "The packages' revision: 1, 2, ... for the same version of Seer")
set(SEER_PACKAGE_MAINTAINER "" CACHE STRING "The packages' maintainer, as 'Name <address>'; empty: from DEBFULLNAME and DEBEMAIL")
set(SEER_PACKAGE_HOMEPAGE "" CACHE STRING "The project's page as the packages name it; empty: none is named")

# Versions are 0.2.0-1~deb12, 0.2.0-1~deb13, 0.2.0-1~ubuntu24.04. So a release of Seer has a version for each system, and that of a
# newer system is newer. Because of the tilde, all of them are older than a package 0.2.0-1 by the distribution itself.
cmake_host_system_information(RESULT system QUERY DISTRIB_INFO)
string(REGEX REPLACE "^debian$" "deb" system_id "${system_ID}")
set(revision ${SEER_PACKAGE_REVISION})
if(system_id AND system_VERSION_ID)
  string(APPEND revision "~${system_id}${system_VERSION_ID}")
endif()
set(version ${PROJECT_VERSION}-${revision})

set(maintainer "${SEER_PACKAGE_MAINTAINER}")
if(NOT maintainer)
  # As in Debian's own tools, whoever builds a package is its maintainer.
  set(name "$ENV{DEBFULLNAME}")
  set(address "$ENV{DEBEMAIL}")
  if(NOT name)
    set(name "Local build")
  endif()
  if(NOT address)
    cmake_host_system_information(RESULT host QUERY FQDN)
    if(NOT host)
      set(host localhost)
    endif()
    set(address builder@${host})
  endif()
  set(maintainer "${name} <${address}>")
endif()

set(variant)
set(section)
if(SEER_HAVE_CUDA)
  set(variant -cuda)
  set(section contrib/)  # because it needs cuBLAS, which is not free software
endif()
set(program seer${variant})
set(library libseer-engine${PROJECT_VERSION_MAJOR}${variant})
set(development libseer-engine${variant}-dev)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME seer)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")  # each description begins with its own summary, and CPack would put this one before it
set(CPACK_PACKAGE_VENDOR "The Seer authors")
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_COMPONENTS_ALL seer_program seer_library seer_development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/tools/package/debian_files.cmake)
set(CPACK_SEER_SOURCE_DIR ${PROJECT_SOURCE_DIR})
set(CPACK_SEER_COPYRIGHT ${SEER_COPYRIGHT})
set(CPACK_SEER_PACKAGE_VERSION ${version})
set(CPACK_SEER_LIBDIR ${CMAKE_INSTALL_LIBDIR})
set(CPACK_SEER_STRIP ${CMAKE_STRIP})

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SOURCE seer)
set(CPACK_DEBIAN_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_DEBIAN_PACKAGE_RELEASE ${revision})
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "${maintainer}")
if(SEER_PACKAGE_HOMEPAGE)
  set(CPACK_DEBIAN_PACKAGE_HOMEPAGE ${SEER_PACKAGE_HOMEPAGE})
endif()
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)  # dpkg of every supported system reads this
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
# debian_files.cmake asks dpkg-shlibdeps which packages the binaries need. CPack could do so too, but would then add scripts that
# call ldconfig. The trigger below calls it already, and because of such scripts dpkg remembers a package that was removed.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS OFF)
# For dpkg-shlibdeps: the folders of libraries that belong to no installed package, and the packages that will have them.
set(CPACK_SEER_LIBRARY_DIRS ${PROJECT_BINARY_DIR}/engine)
set(local_libraries "libseer_engine ${PROJECT_VERSION_MAJOR} ${library} (= ${version})\n")
if(SEER_HAVE_CUDA)
  # dpkg-shlibdeps knows of linked libraries alone. cuBLASLt is opened when a GPU is used first. The first of the two names is that
  # of the package in NVIDIA's apt repository, the second that of Debian and Ubuntu. The CUDA run time is linked statically and
  # opens the driver's libcuda.so.1 itself, and NCCL is opened if ranks use GPUs.
  set(CPACK_SEER_OPENED_LIBRARIES
    "libcublas-${CUDAToolkit_VERSION_MAJOR}-${CUDAToolkit_VERSION_MINOR} | libcublaslt${CUDAToolkit_VERSION_MAJOR}")
  set(CPACK_SEER_OPENED_BY SEER_LIBRARY)
  if(NOT BUILD_SHARED_LIBS)
    list(APPEND CPACK_SEER_OPENED_BY SEER_PROGRAM)
  endif()
endif()

# The dependency of packages that use the library. Its SONAME is 0 for all versions 0.x, among which a minor version may change the
# interface. So these packages depend on the minor version with which they were built. Both variants, with CUDA and without,
# satisfy this.
math(EXPR next_minor "${PROJECT_VERSION_MINOR} + 1")
set(plain_library libseer-engine${PROJECT_VERSION_MAJOR})
set(control ${PROJECT_BINARY_DIR}/packages-control)
file(WRITE ${control}/shlibs.local "${local_libraries}")
set(CPACK_SEER_LOCAL_LIBRARIES ${control}/shlibs.local)
file(WRITE ${control}/shlibs "libseer_engine ${PROJECT_VERSION_MAJOR} ${plain_library} (>= ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}), "
                             "${plain_library} (<< ${PROJECT_VERSION_MAJOR}.${next_minor}~)\n")
file(WRITE ${control}/triggers "activate-noawait ldconfig\n")

set(about "Seer runs Llama, Mistral and Qwen models from their Hugging Face checkpoints.
Trained SeerAttention gates say for every block of queries which blocks of
keys matter, and the prefill of a long prompt computes only those.")
if(SEER_HAVE_CUDA)
  set(on "NVIDIA GPUs of compute capability 8.0 or newer and x86-64 CPUs")
  set(on_short " (with CUDA)")
else()
  set(on "x86-64 CPUs")
  set(on_short "")
endif()

set(CPACK_DEBIAN_SEER_PROGRAM_PACKAGE_NAME ${program})
set(CPACK_DEBIAN_SEER_PROGRAM_PACKAGE_SECTION ${section}science)
set(CPACK_COMPONENT_SEER_PROGRAM_DESCRIPTION "inference engine for long prompts${on_short}
${about}
.
This package has the program seer: completion, chat, a server with the API of
OpenAI, and measurements. It runs on
${on}.")

set(CPACK_DEBIAN_SEER_LIBRARY_PACKAGE_NAME ${library})
set(CPACK_DEBIAN_SEER_LIBRARY_PACKAGE_SECTION ${section}libs)
set(CPACK_DEBIAN_SEER_LIBRARY_PACKAGE_CONTROL_EXTRA ${control}/shlibs ${control}/triggers)
set(CPACK_COMPONENT_SEER_LIBRARY_DESCRIPTION "inference engine for long prompts - shared library${on_short}
${about}
.
This package has the shared library, for
${on}.")

# pkgconf reads the files that Requires.private names even if it is only asked for the flags of headers, so their packages are
# needed. The other packages that the static library needs are suggested, because the shared library does not need them.
set(CPACK_DEBIAN_SEER_DEVELOPMENT_PACKAGE_NAME ${development})
set(CPACK_DEBIAN_SEER_DEVELOPMENT_PACKAGE_SECTION ${section}libdevel)
set(CPACK_DEBIAN_SEER_DEVELOPMENT_PACKAGE_DEPENDS "${library} (= ${version}), libpcre2-dev, libssl-dev, libutf8proc-dev")
set(CPACK_DEBIAN_SEER_DEVELOPMENT_PACKAGE_SUGGESTS "libopenblas-dev, libsentencepiece-dev, pkgconf")
set(CPACK_COMPONENT_SEER_DEVELOPMENT_DESCRIPTION "inference engine for long prompts - development files${on_short}
${about}
.
This package has the headers for C++ and C, the static library, and files for
find_package of CMake and for pkg-config.")

if(SEER_HAVE_CUDA)
  set(CPACK_DEBIAN_SEER_LIBRARY_PACKAGE_SUGGESTS "libcuda1, libnccl2")
  foreach(pair SEER_PROGRAM/seer SEER_LIBRARY/${plain_library} SEER_DEVELOPMENT/libseer-engine-dev)
    string(REPLACE "/" ";" pair ${pair})
    list(GET pair 0 component)
    list(GET pair 1 plain)
    set(CPACK_DEBIAN_${component}_PACKAGE_PROVIDES "${plain} (= ${version})")
    set(CPACK_DEBIAN_${component}_PACKAGE_CONFLICTS ${plain})
    set(CPACK_DEBIAN_${component}_PACKAGE_REPLACES ${plain})
  endforeach()
endif()
include(CPack)
