"""Starts a server with a tiny model that asks for the weather, and skips scripts whose client is not installed."""
import importlib.util
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from automaton import write_weather_model  # noqa: E402
from running_server import Server  # noqa: E402

TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "Says how the weather will be.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                   "required": ["city", "days"]}}}
QUESTION = "How is the weather in Oslo?"
REASONING = "The user wants the weather."
ARGUMENTS = {"city": "Oslo", "days": 2}
ANSWER = "It is cold in Oslo."


class WeatherTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        write_weather_model(cls.folder.name)
        cls.server = Server(model=["-m", cls.folder.name])
        cls.url = cls.server.url + "/v1"

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()


def run(package):
    """Runs the script's tests, or skips them if `package` is not installed."""
    if importlib.util.find_spec(package) is None:
        print(f"SKIPPED: the Python package {package} is not installed")
        sys.exit(0)
    unittest.main()
