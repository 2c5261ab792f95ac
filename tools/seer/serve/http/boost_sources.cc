// Compiles Boost's own code once. Its headers leave it out elsewhere (SEPARATE_COMPILATION).
#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
