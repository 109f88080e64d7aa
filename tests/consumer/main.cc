#include <iostream>

#include "foveate/attention.h"
#include "foveate/error.h"
#include "foveate/sampling.h"

// One key: attention returns its value.
bool Attends() {
  const float query[] = {1, 2}, key[] = {3, 4}, value[] = {5, 6};
  float out[2];
  foveate::AttentionOperator attention("causal");
  attention.Run(foveate::DenseRef(query, {1, 1, 1, 2}), foveate::DenseRef(key, {1, 1, 1, 2}),
                foveate::DenseRef(value, {1, 1, 1, 2}), foveate::DenseRef(out, {1, 1, 1, 2}));
  return out[0] == 5 && out[1] == 6;
}

bool RefusesBadSampling() {
  try {
    foveate::CheckSamplingOptions({.top_p = 2});
  } catch (const foveate::Error& error) {
    std::cout << error.what() << "\n";
    return error.code() == foveate::ErrorCode::kInvalidArgument;
  }
  return false;
}

int main() { return Attends() && RefusesBadSampling() ? 0 : 1; }
