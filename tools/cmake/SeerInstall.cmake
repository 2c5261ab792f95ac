# cmake --install: the program, both kinds of libseer_engine, its headers, and what find_package and pkg-config read.
# Nothing installed names the build or its place: the whole prefix may be moved.
#   cmake --install build/release --prefix DIR [--component seer_runtime | seer_development]
include(CMakePackageConfigHelpers)
set(SEER_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/seer_engine)

# Beside what CMAKE_INSTALL_RPATH asks for: from bin to lib, and the CUDA Toolkit's folder, which the loader often does
# not know.
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

install(TARGETS seer RUNTIME COMPONENT seer_runtime)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT seer_runtime)
# An export set for each kind, so that whoever takes the shared library needs nothing of what the archive needs.
foreach(kind shared static)
  install(TARGETS seer_engine_${kind} EXPORT seer_engine-${kind}
    LIBRARY COMPONENT seer_runtime NAMELINK_COMPONENT seer_development
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

# pkg-config. Not through OpenBLAS's own file: with --static that one asks for libgfortran's development files, which
# its shared library does not need. SentencePiece: see FindSentencePiece.cmake.
file(RELATIVE_PATH lib_to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" lib_to_prefix "${lib_to_prefix}")
set(private_libs ${OPENBLAS_LDFLAGS} -lsentencepiece)
if(SEER_HAVE_CUDA)
  list(APPEND private_libs -L${CUDAToolkit_LIBRARY_DIR} -lcublasLt -lcudart_static -lrt -ldl)
endif()
if(SEER_HAVE_MPI)
  list(APPEND private_libs ${MPI_CXX_LIBRARIES})
endif()
list(APPEND private_libs -lpthread -lstdc++ -lm)
list(JOIN private_libs " " SEER_PRIVATE_LIBS)
configure_file(${CMAKE_CURRENT_LIST_DIR}/seer_engine.pc.in ${PROJECT_BINARY_DIR}/seer_engine.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/seer_engine.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT seer_development)
