# What `cmake --install` and CPack put where.
#
#   program      bin/foveate and its documents
#   development  static libraries, public headers and foveateConfig.cmake: find_package(foveate)
#   bundle       the shared libraries that a bare system lacks; in the .tar.gz only
include(CMakePackageConfigHelpers)

# The whole library under one name.
add_library(foveate INTERFACE)
add_library(foveate::foveate ALIAS foveate)
target_link_libraries(foveate INTERFACE foveate_runtime)

set(foveate_config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/foveate)
install(TARGETS foveate foveate_base foveate_format foveate_kernels foveate_text foveate_template
                foveate_attention foveate_mechanisms foveate_model foveate_runtime
  EXPORT foveateTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(EXPORT foveateTargets NAMESPACE foveate:: DESTINATION ${foveate_config_dir}
  COMPONENT development)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/foveateConfig.cmake.in
  ${PROJECT_BINARY_DIR}/foveateConfig.cmake INSTALL_DESTINATION ${foveate_config_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/foveateConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/foveateConfig.cmake
              ${PROJECT_BINARY_DIR}/foveateConfigVersion.cmake
  DESTINATION ${foveate_config_dir} COMPONENT development)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/foveate DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  COMPONENT development)

install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program)
if(EXISTS ${PROJECT_SOURCE_DIR}/README.md)
  install(FILES ${PROJECT_SOURCE_DIR}/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR}
    COMPONENT program)
endif()

if(TARGET foveate_program)
  # The old kind of run path, which also counts for what the bundled libraries need themselves.
  set_target_properties(foveate_program PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
  target_link_options(foveate_program PRIVATE -Wl,--disable-new-dtags)
  set(bundled)
  if(NOT CMAKE_CROSSCOMPILING)
    set(bundled RUNTIME_DEPENDENCY_SET foveate_bundled)
  endif()
  install(TARGETS foveate_program ${bundled}
    RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
endif()

if(TARGET foveate_program AND NOT CMAKE_CROSSCOMPILING)
  # All but the C and C++ runtime, which every Debian system has (apt itself needs them).
  install(RUNTIME_DEPENDENCY_SET foveate_bundled
    PRE_EXCLUDE_REGEXES "^ld-linux" "^lib(c|m|dl|rt|pthread|resolv|stdc\\+\\+|gcc_s)\\.so"
    LIBRARY DESTINATION lib COMPONENT bundle EXCLUDE_FROM_ALL)
  install(SCRIPT ${CMAKE_CURRENT_LIST_DIR}/BundledLicenses.cmake COMPONENT bundle EXCLUDE_FROM_ALL)

  set(CPACK_GENERATOR DEB TGZ)
  set(CPACK_PACKAGE_NAME foveate)
  set(CPACK_PACKAGE_VENDOR "The Foveate authors")
  set(CPACK_PACKAGE_CONTACT "The Foveate authors <foveate@localhost>")
  set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
  set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
  set(CPACK_STRIP_FILES ON)
  set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
  set(CPACK_DEB_COMPONENT_INSTALL ON)
  set(CPACK_ARCHIVE_COMPONENT_INSTALL ON)
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_PACKAGE_SECTION science)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
  set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates, python3-pip")  # of `foveate pull`
  set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_CURRENT_LIST_DIR}/CPackComponents.cmake)
  include(CPack)
endif()
