// Libraries loaded at run time. They stay loaded: code of theirs may run until the process ends.
#pragma once

#include <string>

namespace asdm {

// A function of a library, whose path is UTF-8. Null, and why, where there is none.
void* libraryFunction(const std::string& path, const char* name, std::string* why);

}  // namespace asdm
