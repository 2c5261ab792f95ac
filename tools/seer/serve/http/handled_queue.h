// Tells the I/O thread which connections' handlers have returned. push() neither allocates nor fails, so that
// no answer is lost when memory runs out.
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

  int descriptor() const { return event_; }    // readable if the queue may hold something
  void push(Connection* connection) noexcept;  // from any thread
  Connection* pop() noexcept;  // returns null if the queue is empty; also clears the descriptor's signal
  void wake() noexcept;        // makes the descriptor readable even if the queue is empty

 private:
  int event_;
  std::mutex mutex_;
  Connection* first_ = nullptr;  // a list through Connection::next_handled
  Connection* last_ = nullptr;
};

}  // namespace seer::serve
