# foveate_mechanisms(TARGET)
#
# Adds every source in the folders of src/mechanisms to the target, and a table of them: the file
# softmax/window.cc declares the mechanism that the function window() returns. Being named in the
# table is what links it, so a static library drops none.
function(foveate_mechanisms target)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/mechanisms/*/*.cc)
  set(declarations)
  set(entries)
  list(TRANSFORM sources REPLACE ".*/([^/]+)\\.cc$" "\\1" OUTPUT_VARIABLE names)
  list(SORT names)
  foreach(name IN LISTS names)
    string(APPEND declarations "Mechanism ${name}();\n")
    string(APPEND entries "      mechanisms::${name}(),\n")
  endforeach()
  set(table ${PROJECT_BINARY_DIR}/mechanism_table.cc)
  file(CONFIGURE OUTPUT ${table} @ONLY CONTENT [=[
// Written by cmake/FoveateMechanisms.cmake.
#include <vector>

#include "mechanisms/registry.h"

namespace foveate {
namespace mechanisms {

@declarations@
}  // namespace mechanisms

std::span<const Mechanism> Mechanisms() {
  static const std::vector<Mechanism> table = {
@entries@  };
  return table;
}

}  // namespace foveate
]=])
  target_sources(${target} PRIVATE ${sources} ${table})
endfunction()
