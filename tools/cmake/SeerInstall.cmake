# cmake --install installs the program with its manual page and the shells' completions, both kinds of libseer_engine, its headers,
# and the files that find_package and pkg-config read. No installed file names the build folder or the prefix, so the prefix may
# be moved.
#   cmake --install build/release --prefix DIR [--component seer_program | seer_library | seer_development | seer_license]
include(CMakePackageConfigHelpers)
include(SeerCopyright)
set(SEER_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/seer_engine)

# Adds two folders to those of CMAKE_INSTALL_RPATH: lib, relative to bin, and the folder of the CUDA Toolkit's libraries, in which
# the loader often does not look.
if(BUILD_SHARED_LIBS)
  file(RELATIVE_PATH bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  set_property(TARGET seer APPEND PROPERTY INSTALL_RPATH $ORIGIN/${bin_to_lib})
endif()
if(SEER_HAVE_CUDA)
  set_property(TARGET seer_engine_shared APPEND PROPERTY INSTALL_RPATH ${CUDAToolkit_LIBRARY_DIR})
  if(NOT BUILD_SHARED_LIBS)
    set_property(TARGET seer APPEND PROPERTY INSTALL_RPATH ${CUDAToolkit_LIBRARY_DIR})
  endif()
endif()

install(TARGETS seer RUNTIME COMPONENT seer_program)
install(FILES ${PROJECT_SOURCE_DIR}/tools/seer/seer.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT seer_program)
# This is a component of its own, because each of Debian's packages has the copyright file in another folder.
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${SEER_COPYRIGHT} DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT seer_license)

# seer_install_completion(bash FILE FOLDER) installs what `seer completion bash` prints as FILE in FOLDER, where that shell looks
# for it.
set(completions)
function(seer_install_completion shell file folder)
  set(script ${PROJECT_BINARY_DIR}/completions/${file})
  add_custom_command(OUTPUT ${script}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/completions
    COMMAND seer completion ${shell} > ${script}
    DEPENDS seer COMMENT "Writing the completion script of ${shell}" VERBATIM)
  install(FILES ${script} DESTINATION ${CMAKE_INSTALL_DATADIR}/${folder} COMPONENT seer_program)
  set(completions ${completions} ${script} PARENT_SCOPE)
endfunction()
if(CMAKE_CROSSCOMPILING AND NOT CMAKE_CROSSCOMPILING_EMULATOR)
  message(STATUS "No completion scripts: the program writes them, and without CMAKE_CROSSCOMPILING_EMULATOR it cannot run here")
else()
  seer_install_completion(bash seer bash-completion/completions)
  seer_install_completion(zsh _seer zsh/site-functions)
  seer_install_completion(fish seer.fish fish/vendor_completions.d)
  add_custom_target(seer_completions ALL DEPENDS ${completions})
endif()
# Each kind of library has an export set of its own, so that a project that uses the shared library need not find the libraries
# that the static one needs.
foreach(kind shared static)
  install(TARGETS seer_engine_${kind} EXPORT seer_engine-${kind}
    LIBRARY COMPONENT seer_library NAMELINK_COMPONENT seer_development
    ARCHIVE COMPONENT seer_development
    INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(EXPORT seer_engine-${kind} NAMESPACE seer:: DESTINATION ${SEER_PACKAGE_DIR} COMPONENT seer_development)
endforeach()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/engine/include/seer ${PROJECT_BINARY_DIR}/engine/include/seer
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT seer_development FILES_MATCHING PATTERN "*.h")

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/seer_engine-config.cmake.in
  ${PROJECT_BINARY_DIR}/seer_engine-config.cmake INSTALL_DESTINATION ${SEER_PACKAGE_DIR}
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/seer_engine-config-version.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${PROJECT_BINARY_DIR}/seer_engine-config.cmake ${PROJECT_BINARY_DIR}/seer_engine-config-version.cmake
              ${CMAKE_CURRENT_LIST_DIR}/FindSentencePiece.cmake
  DESTINATION ${SEER_PACKAGE_DIR} COMPONENT seer_development)

# The file for pkg-config. It does not require OpenBLAS's own file, because with --static that one asks for libgfortran's
# development files, which OpenBLAS's shared library does not need; nor SentencePiece's (see FindSentencePiece.cmake).
file(RELATIVE_PATH lib_to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" lib_to_prefix "${lib_to_prefix}")
set(private_libs ${OPENBLAS_LDFLAGS} -lsentencepiece)
if(SEER_HAVE_CUDA)
  list(APPEND private_libs -L${CUDAToolkit_LIBRARY_DIR} -lcudart_static -lrt -ldl)
endif()
if(SEER_HAVE_MPI)
  list(APPEND private_libs ${MPI_CXX_LIBRARIES})
endif()
list(APPEND private_libs -lpthread -lstdc++ -lm)
list(JOIN private_libs " " SEER_PRIVATE_LIBS)
configure_file(${CMAKE_CURRENT_LIST_DIR}/seer_engine.pc.in ${PROJECT_BINARY_DIR}/seer_engine.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/seer_engine.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT seer_development)
