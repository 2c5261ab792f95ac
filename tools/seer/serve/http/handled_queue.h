// Tells the I/O thread which connections' handlers have returned. Putting one in neither allocates nor fails,
// so that no answer is lost when memory runs out.
#pragma once

#include <mutex>

namespace seer::serve {

class Connection;

class HandledQueue {
 public:
  HandledQueue();  // throws seer::Error{kRuntime} if the system gives no descriptor
  ~HandledQueue();
  HandledQueue(const HandledQueue&) = delete;
  HandledQueue& operator=(const HandledQueue&) = delete;

  int descriptor() const { return event_; }    // readable if something may be there
  void push(Connection* connection) noexcept;  // from any thread
  Connection* pop() noexcept;                  // null: there is none; takes the signal as well
  void wake() noexcept;                        // makes the descriptor readable with nothing there

 private:
  int event_;
  std::mutex mutex_;
  Connection* first_ = nullptr;  // a list through Connection::next_handled
  Connection* last_ = nullptr;
};

}  // namespace seer::serve
