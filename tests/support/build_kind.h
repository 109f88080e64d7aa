// What this build of the tests can show: bounds on time and memory need a plain one.
#pragma once

namespace foveate {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
inline constexpr bool kSanitized =
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool kSanitized = false;
#endif

// The tests of a cross build run in qemu's user mode, which does without some system calls.
#ifdef FOVEATE_EMULATED
inline constexpr bool kEmulated = true;
#else
inline constexpr bool kEmulated = false;
#endif

#ifdef __OPTIMIZE__
inline constexpr bool kOptimised = true;
#else
inline constexpr bool kOptimised = false;
#endif

// Whether it runs at the speed that users get.
inline constexpr bool kFullSpeed = kOptimised && !kSanitized && !kEmulated;

}  // namespace foveate
