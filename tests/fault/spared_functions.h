// Functions of other libraries that end the program if they get no memory: destructors of nlohmann::json,
// which allocate a list of what they destroy. A test of the project's own code has to let them have it.
#pragma once

namespace seer::testing {

// Finds the functions in the program's symbol table. Returns whether there were any: a program that was
// stripped has none. Call it once, before called_by_spared_function().
bool find_spared_functions();

// Whether one of them is among the nearest callers. Allocates nothing.
bool called_by_spared_function() noexcept;

}  // namespace seer::testing
