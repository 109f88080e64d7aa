# Cross-compiles for 64-bit Arm on Debian: Debian's cross compiler, libraries from multiarch packages
# (tools/packages.sh lists them), and qemu to run the tests.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++-12)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

# Packages for the target live beside those of the host; only what runs here may be the host's.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)

# No -L /usr/aarch64-linux-gnu: the loader there belongs to another libc than the multiarch one.
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64)
