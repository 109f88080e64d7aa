# What most sources include: parsing it was two thirds of the time to compile one.
set(FOVEATE_COMMON_HEADERS
  <algorithm> <array> <chrono> <cmath> <cstdint> <cstring> <filesystem> <functional> <limits> <map>
  <memory> <optional> <set> <span> <string> <string_view> <utility> <vector>
  <fmt/format.h> <nlohmann/json.hpp>)

# foveate_common_headers(TARGET KIND): precompiles them for the first target of a kind and reuses them
# in the others. Targets of a kind are compiled with the same options, as clang demands.
function(foveate_common_headers target kind)
  get_property(maker GLOBAL PROPERTY FOVEATE_COMMON_HEADERS_${kind})
  if(maker)
    target_precompile_headers(${target} REUSE_FROM ${maker})
  else()
    target_precompile_headers(${target} PRIVATE ${FOVEATE_COMMON_HEADERS})
    set_property(GLOBAL PROPERTY FOVEATE_COMMON_HEADERS_${kind} ${target})
  endif()
endfunction()

# foveate_room(NAME [FUZZED] [USES room...] [LINK PUBLIC|PRIVATE target...])
#
# Makes the static library foveate_NAME from every source in src/NAME. A source file is picked up by
# being there. FUZZED: when fuzzers are built, the room is instrumented so that they see which
# branches they have reached.
function(foveate_room name)
  cmake_parse_arguments(ROOM "FUZZED" "" "USES;LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cc)
  add_library(foveate_${name} STATIC ${sources})
  foveate_warnings(foveate_${name})
  if(ROOM_FUZZED AND FOVEATE_BUILD_FUZZERS)
    target_compile_options(foveate_${name} PRIVATE -fsanitize=fuzzer-no-link)
    target_link_options(foveate_${name} INTERFACE -fsanitize=fuzzer-no-link)
    foveate_common_headers(foveate_${name} fuzzed)
  else()
    foveate_common_headers(foveate_${name} plain)
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
