#!/usr/bin/env python3
"""Uses `seer serve` through agents of Pydantic AI, as their users set them up."""
import asyncio

import weather

try:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider
except ImportError:
    Agent = None


class PydanticAi(weather.WeatherTest):
    def agent(self, asked):
        agent = Agent(OpenAIChatModel("demo", provider=OpenAIProvider(base_url=self.url, api_key="none")))

        @agent.tool_plain
        def get_weather(city: str, days: int) -> str:
            """Says how the weather will be."""
            asked.append({"city": city, "days": days})
            return "-5 degrees"

        return agent

    def test_an_agent_calls_its_tool_and_answers(self):
        asked = []
        result = self.agent(asked).run_sync(weather.QUESTION)
        self.assertEqual(asked, [weather.ARGUMENTS])
        self.assertEqual(result.output, weather.ANSWER)

    def test_a_streamed_run_does_the_same(self):
        asked = []

        async def run():
            async with self.agent(asked).run_stream(weather.QUESTION) as result:
                return await result.get_output()

        self.assertEqual(asyncio.run(run()), weather.ANSWER)
        self.assertEqual(asked, [weather.ARGUMENTS])


if __name__ == "__main__":
    weather.run("pydantic_ai")
