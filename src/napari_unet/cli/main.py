"""The command `napari-unet`: one subcommand for each thing a person wants done."""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_unet.cli.stopping import Stopped, on_stop_request

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

# What each subcommand is for; its module is loaded only when it is called.
COMMANDS = {
    "train": "learn from annotated images",
    "predict": "segment images with a trained model",
    "bundle": "pack what a training or prediction takes into one file",
    "next": "tell which parts of which images to annotate next",
    "replay": "train and predict again as a run did, and compare",
    "methods": "write the paragraph on a model for the methods of a paper",
    "evaluate": "compare predictions with the truth",
    "weights": "write the border weight map of labels",
    "networks": "list the networks that can be trained",
    "info": "tell about this installation, or about a model",
    "convert": "make a model of another program one of this program",
    "export-model": "write a model for another program",
    "encoder": "fetch the weights of ImageNet that some networks can begin with",
    "serve": "do what a napari-unet on another computer asks for, over ssh",
    "demo": "train and predict on images that come with the package",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        Exit status: 0 done, 1 bad input in one sentence, 2 wrong options, 128 and the
        number of the signal if it was asked to stop: 130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        # a file or a pipe of Windows may know no × or σ: then a ? stands for it
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    asked: list[int] = []

    def stop(number: int) -> None:
        asked.append(number)
        raise Stopped(number)

    with on_stop_request(stop):
        try:
            status = _run(list(sys.argv[1:] if arguments is None else arguments))
        except KeyboardInterrupt as interrupt:
            if not (isinstance(interrupt, Stopped) and interrupt.reported):
                _fail("interrupted.")
            return Stopped.after(interrupt).status
    # some libraries make another error of it
    return Stopped(asked[0]).status if status and asked else status


def _run(given: list[str]) -> int:
    from napari_unet.io.installation import is_overwritten, namesake_problem

    problem = namesake_problem()
    if problem and is_overwritten():
        return _fail(problem)
    if problem:
        _say(problem)
    # imported here: what is loaded from now on can be interrupted like all else
    from pydantic import ValidationError

    from napari_unet.cli.options import check_report
    from napari_unet.core.settings import explain
    from napari_unet.core.text import sentence

    options = _parsed(given)
    try:
        _check_alone(options.command)
        check_report(getattr(options, "json", None), "--json")
        check_report(getattr(options, "events", None), "--events", appended=True)
        status: int = options.run(options)
    except ValidationError as error:
        return _fail(explain(error))
    except MemoryError as error:
        return _fail(str(error) or "the memory does not suffice.")
    except (OSError, ValueError) as error:
        return _fail(sentence(error))
    except ModuleNotFoundError as error:
        return _fail(str(error))
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        from napari_unet.core.text import reason

        return _fail(
            f"{type(error).__name__}: {reason(error)}; this should not happen. "
            "python -X dev -m napari_unet.cli.main tells where it did."
        )
    return status


def _check_alone(command: str) -> None:
    """Refuse, with a ValueError, several processes for what one does."""
    from napari_unet.core.torchrun import this_member

    if (member := this_member()) and command != "train":
        raise ValueError(
            f"{command} is done by one process, {member.size} were started: torchrun "
            "is for train."
        )


def _parsed(given: list[str]) -> argparse.Namespace:
    import argparse
    from importlib import import_module

    from napari_unet import __version__

    parser = argparse.ArgumentParser(
        prog="napari-unet",
        description="Segment microscopy images with the U-Net, from few annotations.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(
        metavar="COMMAND", required=True, parser_class=_mixing_parser()
    )
    wanted = next((a for a in given if a in COMMANDS), None)
    for name, purpose in COMMANDS.items():
        sub = subparsers.add_parser(
            name, help=purpose, description=purpose.capitalize()
        )
        if name == wanted:
            command = import_module(f"napari_unet.cli.{name.replace('-', '_')}")
            command.add_options(sub)
            sub.set_defaults(run=command.run, command=name)
    return parser.parse_args(given)


def _mixing_parser() -> type[argparse.ArgumentParser]:
    """Return a parser that takes files after options, too.

    argparse's own takes `MODEL --output DIR` for all there is of MODEL and any images.
    """
    import argparse

    class MixingParser(argparse.ArgumentParser):
        inside = False

        def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
            if self.inside:
                return super().parse_known_args(args, namespace)
            self.inside = True
            try:
                return self.parse_known_intermixed_args(args, namespace)
            finally:
                self.inside = False

    return MixingParser


def _fail(sentence: str) -> int:
    _say(sentence)
    return 1


def _say(sentence: str) -> None:
    from napari_unet.core.text import printable
    from napari_unet.core.torchrun import this_member

    member = this_member()
    if member is not None and member.rank:
        sentence = f"process {member.rank} of {member.size}: {sentence}"
    # the terminal may be closed
    with suppress(OSError):
        print(f"napari-unet: {printable(sentence)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
