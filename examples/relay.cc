// Does a fact anywhere in a text reach its last token? Mechanisms side by side, without a model:
//
//   relay power window:left=557,right=0 sink_window:sink=64,left=495
//
// Layers of attention that were made for it instead of trained: one token carries a mark and a
// message; in every layer each token looks for the mark, takes over the state of the token that has
// it, mark included, and so hands it on. Printed is at how many of 16 depths the last token holds
// the message after so many layers. What a mechanism cannot relay, training cannot make it relay.
#include <foveate/attention.h>

#include <cstdint>
#include <exception>
#include <iostream>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr std::int64_t kDepths = 16, kTokens = 8192, kDim = 64;
constexpr std::int64_t kMark = 0;  // the dimension of the mark; the others hold the message
constexpr float kAttention = 40;   // score of a marked token, against 0
constexpr int kLayers[] = {1, 2, 4, 6, 8, 12, 16};

using States = std::vector<float>;  // [depth][token][kDim]

std::int64_t NeedleAt(std::int64_t depth) { return depth * kTokens / kDepths; }

float* Token(States& states, std::int64_t depth, std::int64_t token) {
  return &states[(depth * kTokens + token) * kDim];
}

// Messages of every token; the needle's alone is marked.
States RandomStates() {
  std::mt19937 random(1);
  States states(kDepths * kTokens * kDim);
  for (float& value : states) value = random() % 2 == 0 ? 1.0f : -1.0f;
  for (std::int64_t depth = 0; depth < kDepths; ++depth) {
    for (std::int64_t token = 0; token < kTokens; ++token) Token(states, depth, token)[kMark] = 0;
    Token(states, depth, NeedleAt(depth))[kMark] = 1;
  }
  return states;
}

// Whether the last token's message has every sign of the needle's first one.
bool Arrived(States& states, States& first, std::int64_t depth) {
  const float* here = Token(states, depth, kTokens - 1);
  const float* needle = Token(first, depth, NeedleAt(depth));
  for (std::int64_t d = 1; d < kDim; ++d) {
    if (here[d] * needle[d] <= 0) return false;
  }
  return true;
}

void Relay(const std::string& mechanism) {
  foveate::AttentionOperator attention(mechanism);
  States first = RandomStates(), states = first, out(states.size());
  std::vector<float> query(kDim);
  query[kMark] = kAttention;
  // One query for all: strides of 0.
  foveate::TensorRef<4> queries = foveate::DenseRef(query.data(), {1, 1, 1, kDim});
  queries.shape = {kDepths, 1, kTokens, kDim};
  queries.strides = {0, 0, 0, 1};
  int layer = 0;
  for (const int layers : kLayers) {
    for (; layer < layers; ++layer) {
      const auto shown = foveate::DenseRef(states.data(), {kDepths, 1, kTokens, kDim});
      attention.Run(queries, shown, shown,
                    foveate::DenseRef(out.data(), {kDepths, 1, kTokens, kDim}), {}, {.scale = 1});
      states.swap(out);
    }
    int arrived = 0;
    for (std::int64_t depth = 0; depth < kDepths; ++depth) {
      arrived += Arrived(states, first, depth) ? 1 : 0;
    }
    std::cout << "\t" << arrived << "/" << kDepths;
  }
  std::cout << "\t" << mechanism << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::cout << "layers";
    for (const int layers : kLayers) std::cout << "\t" << layers;
    std::cout << "\n";
    for (int i = 1; i < argc; ++i) Relay(argv[i]);
  } catch (const std::exception& error) {
    std::cerr << "relay: " << error.what() << "\n";
    return 2;
  }
}
