"""Faults that are put into a copy of the package on purpose, each to be noticed.

If the text of one is not found, the list is out of date: give it the text as it is now.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import napari_unet

PACKAGE = Path(napari_unet.__file__).parent


@dataclass(frozen=True, slots=True)
class Fault:
    """A change of one text.

    Attributes
    ----------
    name : str
        What is wrong then.
    file : str
        Of the package.
    old, new : str
        The text, which is in the file once, and what takes its place.
    kind : str
        The trials that must notice it.
    trials : int
        How many of them are enough.
    """

    name: str
    file: str
    old: str
    new: str
    kind: str
    trials: int

    def planted(self) -> str:
        """Return the file with the fault; ValueError if the text is not there once."""
        text = (PACKAGE / self.file).read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(
                f"{self.file} has the text of {self.name!r} {text.count(self.old)} "
                "times, not once: bring benchmarks/reliability/faults.py up to date."
            )
        return text.replace(self.old, self.new)


FAULTS = (
    Fault(
        "files are written under their own name",
        "io/atomic.py",
        "            yield temporary\n            flush(temporary)\n"
        "            _move(temporary, path)\n",
        "            yield path\n",
        "disk.predict",
        6,
    ),
    Fault(
        "what is half written stays",
        "io/atomic.py",
        "            _move(temporary, path)\n    finally:\n        remove(temporary)\n",
        "            _move(temporary, path)\n    finally:\n        pass\n",
        "disk.predict",
        6,
    ),
    Fault(
        "large results are written under their own name",
        "io/resumable_output.py",
        "        return self.folder / kind / target.name\n",
        "        return target\n",
        "kill.blocks",
        4,
    ),
    Fault(
        "a step counts before it is done",
        "io/resumable_output.py",
        "        return self._note(step).exists()\n",
        "        return self._note(step).parent.exists()\n",
        "kill.blocks",
        4,
    ),
    Fault(
        "a file counts as predicted when another is",
        "io/prediction_folder.py",
        "        if not (target.exists() or target.is_symlink()):\n"
        "            return False\n        note",
        "        if target.parent.exists():\n            return True\n        note",
        "kill.predict",
        6,
    ),
    Fault(
        "a prediction leaves a file where it was started",
        "cli/predict.py",
        "    model, source = source_of(options.model)\n",
        "    Path('a.log').touch()\n    model, source = source_of(options.model)\n",
        "kill.predict",
        2,
    ),
    Fault(
        "a resumed training forgets its step",
        "engine/training/state.py",
        ".validate_json(checkpoint.progress)\n",
        ".validate_json(checkpoint.progress).replace(step=0)\n",
        "kill.train",
        8,
    ),
    Fault(
        "a resumed training forgets its optimiser",
        "engine/training/state.py",
        '{"state": state, "param_groups": groups}',
        '{"state": {}, "param_groups": groups}',
        "kill.train",
        8,
    ),
    Fault(
        "checkpoints are rare",
        "engine/training/loop.py",
        "_CHECKPOINT_SECONDS = 12.0\n",
        "_CHECKPOINT_SECONDS = 200.0\n",
        "kill.train",
        8,
    ),
    Fault(
        "a training that is ended writes no checkpoint",
        "engine/training/run.py",
        "        except GeneratorExit:\n            loop.write_checkpoint()\n"
        "            raise\n        except BaseException:\n"
        "            # the first error is reported, not that of the checkpoint\n"
        "            with suppress(OSError):\n                loop.write_checkpoint()\n"
        "            raise\n",
        "        finally:\n            pass\n",
        "kill.stop",
        8,
    ),
    Fault(
        "strokes are not written",
        "session/project/annotation_file.py",
        "            target[...] = values\n",
        "            pass\n",
        "kill.strokes",
        2,
    ),
    Fault(
        "nobody notes which slices are painted",
        "session/project/annotation_file.py",
        "            self._log.add((t, z))\n",
        "",
        "kill.strokes",
        2,
    ),
    Fault(
        "strokes in other slices are not followed",
        "session/annotating/edits.py",
        "        layer.events.paint.connect(self._on_paint)\n",
        "",
        "kill.strokes",
        10,
    ),
    Fault(
        "no room is set aside for strokes",
        "session/project/annotation_file.py",
        "        reserve(self.array, field_index(self.axes, t, z, box))\n",
        "",
        "disk.strokes",
        6,
    ),
    Fault(
        "nobody hears of a dead worker",
        "session/worker/client.py",
        "        self.died.emit(f",
        "        str(f",
        "kill.worker",
        2,
    ),
    Fault(
        "a worker stays when napari is gone",
        "engine/worker/inbox.py",
        "        timer.start()\n        self.close()\n",
        "",
        "kill.napari",
        1,
    ),
    Fault(
        "one damaged project hides the others",
        "session/project/recovery.py",
        "        except Exception as error:  # one",
        "        except OSError as error:  # one",
        "mutate.project",
        12,
    ),
    Fault(
        "a project may be open twice",
        "session/project/recovery.py",
        "            held.acquire()\n",
        "            pass\n",
        "kill.beside",
        1,
    ),
    Fault(
        "damaged model files end in a traceback",
        "io/model_file.py",
        "    except (SafetensorError, OSError) as error:\n",
        "    except OSError as error:\n",
        "mutate.model",
        12,
    ),
    Fault(
        "damaged images end in a traceback",
        "io/images.py",
        "    except Exception as error:\n",
        "    except ValueError as error:\n",
        "mutate.tiff",
        40,
    ),
    Fault(
        "images with numbers that are not finite are predicted",
        "engine/file_prediction.py",
        "            check_finite(self._seen(image))\n",
        "",
        "mutate.wild",
        4,
    ),
    Fault(
        "bad values end in a traceback",
        "cli/main.py",
        "    except (OSError, ValueError) as error:\n",
        "    except (OSError, UnicodeError) as error:\n",
        "options.bad",
        30,
    ),
    Fault(
        "whether the report can be written is not tried before the work",
        "cli/options.py",
        '    if path is None or path == "-":\n        return\n    file =',
        "    if path is not None:\n        return\n    file =",
        "options.bad",
        10,
    ),
    Fault(
        "scratch stays when napari is closed",
        "session/workspace.py",
        "        self._scratch.close()\n",
        "",
        "soak.session",
        1,
    ),
    Fault(
        "results that were removed stay on the disk",
        "session/prediction/result_files.py",
        "            file.remove()\n",
        "            pass\n",
        "soak.session",
        1,
    ),
)
