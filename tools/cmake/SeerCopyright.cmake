# Writes the file SEER_COPYRIGHT, which names the holders and the terms of all code that is installed, also of the code that comes
# from others' headers and static libraries. It has the format of
# https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/, and is made from tools/package/copyright.in and LICENSE. A
# test compares it with the symbols of the built program and library.
set(SEER_COPYRIGHT ${PROJECT_BINARY_DIR}/copyright)

function(seer_write_copyright)
  file(READ ${PROJECT_SOURCE_DIR}/LICENSE licence)
  if(NOT licence MATCHES "^MIT License\n\nCopyright \\(c\\) ([^\n]+)\n\n(.+)$")
    message(FATAL_ERROR "LICENSE was expected to be the MIT licence: its title, one line of copyright, its text")
  endif()
  set(holder "${CMAKE_MATCH_1}")
  string(STRIP "${CMAKE_MATCH_2}" terms)
  string(REPLACE "\n\n" "\n.\n" terms "${terms}")
  string(REPLACE "\n" "\n " terms " ${terms}")
  if(SEER_HAVE_CUDA)
    set(cuda_holder "\n NVIDIA Corporation (CUDA Toolkit)")
    set(cuda_licence " and NVIDIA-CUDA-EULA")
    set(cuda_terms "
License: NVIDIA-CUDA-EULA
 The CUDA Toolkit's static run time (libcudart_static.a) and headers are under
 the toolkit's End User License Agreement, which comes with the toolkit and is
 at https://docs.nvidia.com/cuda/eula/. Its Attachment A names the portions that
 applications may distribute.
")
    if(NOT BUILD_SHARED_LIBS)  # the static library becomes a part of the program
      set(program_cuda_holder "${cuda_holder}")
      set(program_cuda_licence "${cuda_licence}")
    endif()
  endif()
  configure_file(${PROJECT_SOURCE_DIR}/tools/package/copyright.in ${SEER_COPYRIGHT} @ONLY)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/LICENSE)
endfunction()
seer_write_copyright()
