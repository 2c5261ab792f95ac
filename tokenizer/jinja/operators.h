// Python's operators. All throw RenderError for the cases in which Python and jinja2 raise exceptions.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/errors.h"
#include "tokenizer/jinja/value.h"

namespace seer::jinja {

// Returns Python's name of the type, for error messages.
std::string type_name(const Value& value);
// Throws the error for the use of an undefined value; does nothing for other values.
void require_defined(const Value& value);
[[noreturn]] void type_error(const std::string& message);

bool truthy(const Value& value);
bool equal(const Value& a, const Value& b);
bool identical(const Value& a, const Value& b);              // Python's `is`
bool ordered(CompareOp op, const Value& a, const Value& b);  // <, <=, >, >=
bool contains(const Value& container, const Value& item);
bool compare(CompareOp op, const Value& a, const Value& b);
// Returns a < b, the comparison that Python's sorted() makes.
inline bool less(const Value& a, const Value& b) { return ordered(CompareOp::kLess, a, b); }

size_t hash_of(const Value& value);
size_t hash_of(std::string_view text);

Value binary(ExprKind kind, const Value& a, const Value& b);
Value negative(const Value& value);
Value positive(const Value& value);
Value power(const Value& a, const Value& b);
Value divide(const Value& a, const Value& b);
Value floor_divide(const Value& a, const Value& b);
Value modulo(const Value& a, const Value& b);  // of numbers
Value add(const Value& a, const Value& b);
Value multiply(const Value& a, const Value& b);
// Replaces &, <, >, ' and " by HTML entities, which keep the origin of the characters.
Text escape(const Text& text);
// Returns the value as text, escaped unless it is markup.
Text escaped(const Value& value);

}  // namespace seer::jinja
