#!/usr/bin/env python3
"""Uses `seer serve` through LangChain's ChatOpenAI, as its users set it up."""
import weather

try:
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
except ImportError:
    ChatOpenAI = None


class LangChain(weather.WeatherTest):
    def model(self, **fields):
        return ChatOpenAI(model="demo", base_url=self.url, api_key="none", max_retries=0, **fields)

    @staticmethod
    def tools():
        @tool
        def get_weather(city: str, days: int) -> str:
            """Says how the weather will be."""
            return f"-5 degrees in {city} for {days} days"
        return [get_weather]

    def test_an_agent_s_loop(self):
        tools = self.tools()
        model = self.model().bind_tools(tools)
        messages = [HumanMessage(weather.QUESTION)]
        messages.append(model.invoke(messages))
        call = messages[-1].tool_calls[0]
        self.assertEqual((call["name"], call["args"]), ("get_weather", weather.ARGUMENTS))
        messages.append(ToolMessage(tools[0].invoke(call["args"]), tool_call_id=call["id"]))
        self.assertEqual(model.invoke(messages).content, weather.ANSWER)

    def test_a_streamed_call_adds_up(self):
        whole = None
        for chunk in self.model().bind_tools(self.tools()).stream(weather.QUESTION):
            whole = chunk if whole is None else whole + chunk
        self.assertEqual(whole.tool_calls[0]["args"], weather.ARGUMENTS)
        self.assertEqual(whole.invalid_tool_calls, [])

    def test_log_probabilities_and_usage(self):
        answer = self.model(logprobs=True, top_logprobs=1).invoke("Hi")
        self.assertEqual(answer.content, "Hello there.")
        self.assertGreater(len(answer.response_metadata["logprobs"]["content"]), 2)
        self.assertGreater(answer.usage_metadata["input_tokens"], 0)


if __name__ == "__main__":
    weather.run("langchain_openai")
