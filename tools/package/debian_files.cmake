# cpack runs this after it has put each package's files into a folder of its own. It adds and changes what Debian's policy asks for,
# so that `cmake --install` can install files as other systems expect them.
cmake_minimum_required(VERSION 3.25)
set(root ${CPACK_TEMPORARY_INSTALL_DIRECTORY})

function(run_or_stop)
  execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE out OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(failed)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "'${command}' failed: ${failed}")
  endif()
  set(out "${out}" PARENT_SCOPE)
endfunction()

function(compress file)
  run_or_stop(gzip -9 --no-name --force ${file})
endfunction()

# --- Debian's change log, dated as CHANGELOG.md dates the version.
file(STRINGS ${CPACK_SEER_SOURCE_DIR}/CHANGELOG.md heading REGEX "^## \\[${CPACK_DEBIAN_PACKAGE_VERSION}\\] - ")
if(NOT heading MATCHES " - ([0-9]+-[0-9]+-[0-9]+)$")
  message(FATAL_ERROR "CHANGELOG.md was expected to have a chapter '## [${CPACK_DEBIAN_PACKAGE_VERSION}] - DATE', for the version "
                      "in CMakeLists.txt; found '${heading}'")
endif()
run_or_stop(${CMAKE_COMMAND} -E env LC_ALL=C date --utc --rfc-email --date ${CMAKE_MATCH_1})
set(changes "seer (${CPACK_SEER_PACKAGE_VERSION}) unstable; urgency=medium

  * Version ${CPACK_DEBIAN_PACKAGE_VERSION}; changelog.gz says what is new.

 -- ${CPACK_DEBIAN_PACKAGE_MAINTAINER}  ${out}
")

foreach(component IN LISTS CPACK_COMPONENTS_ALL)
  string(TOUPPER ${component} upper)
  set(docs ${root}/${component}/usr/share/doc/${CPACK_DEBIAN_${upper}_PACKAGE_NAME})
  configure_file(${CPACK_SEER_COPYRIGHT} ${docs}/copyright COPYONLY)
  file(WRITE ${docs}/changelog.Debian "${changes}")
  configure_file(${CPACK_SEER_SOURCE_DIR}/CHANGELOG.md ${docs}/changelog COPYONLY)
  compress(${docs}/changelog.Debian)
  compress(${docs}/changelog)
  file(CHMOD ${docs}/copyright ${docs}/changelog.gz ${docs}/changelog.Debian.gz
    PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
endforeach()

# Strips the binaries as Debian's dh_strip does.
set(lib ${root}/seer_library/usr/${CPACK_SEER_LIBDIR}/libseer_engine.so.${CPACK_DEBIAN_PACKAGE_VERSION})
set(unneeded --remove-section=.comment --remove-section=.note)
run_or_stop(${CPACK_SEER_STRIP} ${unneeded} ${root}/seer_program/usr/bin/seer)
run_or_stop(${CPACK_SEER_STRIP} ${unneeded} --strip-unneeded ${lib})
run_or_stop(${CPACK_SEER_STRIP} ${unneeded} --strip-debug --enable-deterministic-archives
  ${root}/seer_development/usr/${CPACK_SEER_LIBDIR}/libseer_engine.a)

# --- The packages that the binaries need. A library that belongs to no package is an error, unless CPACK_SEER_LOCAL_LIBRARIES names
# a package for it.
find_program(shlibdeps dpkg-shlibdeps)
if(NOT shlibdeps)
  message(FATAL_ERROR "packages are built with dpkg-shlibdeps, which was not found: install dpkg-dev")
endif()
set(search ${CPACK_SEER_LIBRARY_DIRS})
list(TRANSFORM search PREPEND -l)
file(WRITE ${root}/debian/control "")  # dpkg-shlibdeps reads this file, and a folder DEBIAN tells it where a package's files begin
file(MAKE_DIRECTORY ${root}/seer_program/DEBIAN ${root}/seer_library/DEBIAN)
foreach(binary SEER_PROGRAM=${root}/seer_program/usr/bin/seer SEER_LIBRARY=${lib})
  string(REGEX MATCH "^([^=]+)=(.+)$" binary ${binary})
  set(package ${CMAKE_MATCH_1})
  run_or_stop(${CMAKE_COMMAND} -E chdir ${root} ${shlibdeps} ${search} -L${CPACK_SEER_LOCAL_LIBRARIES} -O ${CMAKE_MATCH_2})
  if(NOT out MATCHES "^shlibs:Depends=([^\n]+)")
    message(FATAL_ERROR "dpkg-shlibdeps was expected to print shlibs:Depends=..., found '${out}'")
  endif()
  set(CPACK_DEBIAN_${package}_PACKAGE_DEPENDS "${CMAKE_MATCH_1}")
  if(package IN_LIST CPACK_SEER_OPENED_BY)
    string(APPEND CPACK_DEBIAN_${package}_PACKAGE_DEPENDS ", ${CPACK_SEER_OPENED_LIBRARIES}")
  endif()
endforeach()
file(REMOVE_RECURSE ${root}/debian ${root}/seer_program/DEBIAN ${root}/seer_library/DEBIAN)

compress(${root}/seer_program/usr/share/man/man1/seer.1)
# Debian's zsh looks here for completions that come with packages, and not in site-functions.
set(zsh ${root}/seer_program/usr/share/zsh)
if(EXISTS ${zsh}/site-functions)
  file(RENAME ${zsh}/site-functions ${zsh}/vendor-completions)
endif()
