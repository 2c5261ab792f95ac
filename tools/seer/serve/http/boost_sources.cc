// Boost's own code, which its headers leave out elsewhere (SEPARATE_COMPILATION), so that it is compiled
// once.
#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
