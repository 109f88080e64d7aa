// A conversation of one question, streamed: chat MODEL QUESTION
#include <foveate/foveate.h>

#include <iostream>

int main(int argc, char** argv) {
  foveate::Model model = foveate::Model::Load(argc > 1 ? argv[1] : "smollm2");
  foveate::Chat chat(model);
  chat.Send(argc > 2 ? argv[2] : "What is the capital of France?", [](std::string_view text) {
    std::cout << text << std::flush;
    return true;
  });
  std::cout << "\n";
}
