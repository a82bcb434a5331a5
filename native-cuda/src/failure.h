// What every layer of the addon throws; node.h turns it into a JavaScript Error with `code`.
#pragma once
#include <string>

struct Failure {
  std::string code, text;
  Failure(std::string code, std::string text) : code(std::move(code)), text(std::move(text)) {}
};
