# What most sources include: parsing it was two thirds of the time to compile one.
set(FOVEATE_COMMON_HEADERS
  <algorithm> <array> <chrono> <cmath> <cstdint> <cstring> <filesystem> <functional> <limits> <map>
  <memory> <optional> <set> <span> <string> <string_view> <utility> <vector>
  <fmt/format.h> <nlohmann/json.hpp>)

# foveate_room(NAME [USES room...] [LINK PUBLIC|PRIVATE target...])
#
# Makes the static library foveate_NAME from every source in src/NAME. A source file is picked up by
# being there.
function(foveate_room name)
  cmake_parse_arguments(ROOM "" "" "USES;LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cc)
  add_library(foveate_${name} STATIC ${sources})
  foveate_warnings(foveate_${name})
  if(name STREQUAL "base")
    target_precompile_headers(foveate_base PRIVATE ${FOVEATE_COMMON_HEADERS})
  else()
    target_precompile_headers(foveate_${name} REUSE_FROM foveate_base)
  endif()
  target_include_directories(foveate_${name}
    PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
           $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>)
  foreach(used IN LISTS ROOM_USES)
    target_link_libraries(foveate_${name} PUBLIC foveate_${used})
  endforeach()
  if(ROOM_LINK)
    target_link_libraries(foveate_${name} ${ROOM_LINK})
  endif()
endfunction()

# Designated initialisers are meant to leave members at their defaults. gcc 12 warns falsely of
# members of a std::variant that a move does not touch, of strings that overlap (PR105651), and of
# what is inlined from precompiled headers.
function(foveate_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-missing-field-initializers
    $<$<BOOL:${FOVEATE_WERROR}>:-Werror>
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized -Wno-restrict -Wno-array-bounds
      -Wno-stringop-overflow -Wno-stringop-overread>)
endfunction()
