#include <iostream>

#include "foveate/error.h"
#include "foveate/sampling.h"

int main() {
  try {
    foveate::CheckSamplingOptions({.top_p = 2});
  } catch (const foveate::Error& error) {
    std::cout << error.what() << "\n";
    return error.code() == foveate::ErrorCode::kInvalidArgument ? 0 : 1;
  }
  return 1;
}
