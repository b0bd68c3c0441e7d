"""What a disk holds after a power cut, made from the journal of `disk.c`.

What a sync covered is there. Of what was written since, a disk may have any part, whatever the order in which it was
written, and a write may be torn between sectors: each sector has what it last had when it was synced, or anything that
was written to it since. The length of a file is one that it has had since. New, renamed and removed names are there up
to some point after the last sync of their folder, in order, as file systems with a journal do it.

After a sync that failed, Linux takes the pages for clean: their content is seen by all until the power goes, and no
later sync writes it, unless the page is written to again.
"""

import random
import shutil
import struct
from dataclasses import dataclass, field

SECTOR = 512
PAGE = 4096
EMPTY = bytes(SECTOR)
HEAD = struct.Struct("=IIIIQ")

# A name that was removed.
GONE = object()


def read_journal(path):
    """The operations, in order; the last one may have been cut off."""
    journal, at = path.read_bytes(), 0
    while at + HEAD.size <= len(journal):
        what, name_bytes, data_bytes, _, where = HEAD.unpack_from(journal, at)
        at += HEAD.size
        name, data = journal[at : at + name_bytes], journal[at + name_bytes : at + name_bytes + data_bytes]
        at += name_bytes + data_bytes
        if at > len(journal):
            return
        yield chr(what), name.decode(), where, data


def is_synced(journal, prefix):
    """Whether all that was written to files whose name begins so is on the disk, and their names, and those of the folders
    that they are in.
    """
    # By name, the step at which it last changed: a sync covers what was there when it began, and nothing later.
    changed, begun = {}, {}
    for step, (what, name, number, data) in enumerate(read_journal(journal)):
        made = data.decode() if what == "r" else name
        if what in "cmr" and (made.startswith(prefix) or prefix.startswith(made)):
            changed[made.rpartition("/")[0]] = step
        if what == "w" and name.startswith(prefix):
            changed[name] = step
        elif what in "ur":
            changed.pop(name, None)
        elif what == "s":
            begun[number] = changed.get(name)
        elif what == "S" and changed.get(name) == begun.pop(number):
            changed.pop(name, None)
    return not changed


@dataclass
class File:
    """A file as processes see it, as the disk has it, and what may have come to the disk in between."""

    seen: bytearray = field(default_factory=bytearray)
    sectors: dict[int, bytes] = field(default_factory=dict)
    length: int = 0
    # By sector, all that it has held since it was clean, oldest first; the lengths of the file likewise.
    newer_sectors: dict[int, list[bytes]] = field(default_factory=dict)
    newer_lengths: list[int] = field(default_factory=list)
    # How many of these came to the disk before, by sector, and of the lengths: two syncs may be under way at once.
    older_sectors: dict[int, int] = field(default_factory=dict)
    older_lengths: int = 0

    @classmethod
    def on_disk(cls, content):
        """One that is wholly on the disk."""
        file = cls()
        file.write(0, content)
        file.end_sync(file.begin_sync())
        return file

    def write(self, where, data):
        """Some bytes; the pages that they are in are no longer clean."""
        if where > len(self.seen):
            self.seen.extend(bytes(where - len(self.seen)))
        self.seen[where : where + len(data)] = data
        self.newer_lengths.append(len(self.seen))
        end = (where + len(data) + PAGE - 1) // PAGE * PAGE
        self._touch(range(where // PAGE * PAGE // SECTOR, end // SECTOR))

    def truncate(self, length):
        """Makes it shorter or longer."""
        longest = max(len(self.seen), length)
        del self.seen[length:]
        self.seen.extend(bytes(length - len(self.seen)))
        self.newer_lengths.append(length)
        self._touch(range(length // SECTOR, longest // SECTOR + 1))

    def _sector(self, number):
        return bytes(self.seen[number * SECTOR : (number + 1) * SECTOR]).ljust(SECTOR, b"\0")

    def _touch(self, numbers):
        for number in numbers:
            now, newer = self._sector(number), self.newer_sectors.get(number, ())
            if now != (newer[-1] if newer else self.sectors.get(number, EMPTY)):
                self.newer_sectors.setdefault(number, []).append(now)

    def begin_sync(self):
        """What a sync that begins now will have covered."""
        sectors = {number: self.older_sectors.get(number, 0) + len(newer) for number, newer in self.newer_sectors.items()}
        return sectors, self.older_lengths + len(self.newer_lengths)

    def end_sync(self, covered, chance=None):
        """The sync has ended; with `chance`, it has failed, and any part of what it was to cover is on the disk."""
        sectors, lengths = covered
        for number, count in sectors.items():
            count -= self.older_sectors.get(number, 0)
            if count <= 0:
                continue
            newer = self.newer_sectors.pop(number)
            older = [self.sectors.get(number, EMPTY), *newer[:count]]
            self.sectors[number] = older[-1] if chance is None else chance.choice(older)
            self.older_sectors[number] = self.older_sectors.get(number, 0) + count
            if newer[count:]:
                self.newer_sectors[number] = newer[count:]
        lengths -= self.older_lengths
        if lengths > 0 and chance is None:
            self.length = self.newer_lengths[lengths - 1]
            del self.newer_lengths[:lengths]
            self.older_lengths += lengths

    def cut(self, chance, share):
        """What is left of it; about `share` of what was not synced has its newest content."""
        length = len(self.seen) if chance.random() < share else chance.choice([self.length, *self.newer_lengths])
        left = bytearray(length)
        for number in self.sectors.keys() | self.newer_sectors.keys():
            newer = self.newer_sectors.get(number)
            sector = self.sectors.get(number, EMPTY)
            if newer:
                sector = newer[-1] if chance.random() < share else chance.choice([sector, *newer[:-1]])
            end = min((number + 1) * SECTOR, length)
            if number * SECTOR < end:
                left[number * SECTOR : end] = sector[: end - number * SECTOR]
        return left

    def difference(self, left):
        """In how many sectors that differs from what processes have seen."""
        ends = range(0, max(len(left), len(self.seen)), SECTOR)
        return sum(left[start : start + SECTOR] != self.seen[start : start + SECTOR] for start in ends)


class PowerCut:
    """Follows a server's journal from a folder that is wholly on the disk, and cuts the power at its end."""

    def __init__(self, root, seed):
        self.root = root
        self.chance = random.Random(seed)
        # Names below the root; a folder is `None`.
        self.seen = {}
        for path in root.rglob("*"):
            self.seen[str(path.relative_to(root))] = None if path.is_dir() else File.on_disk(path.read_bytes())
        self.on_disk = dict(self.seen)
        # By folder, what has happened to its names since it was synced.
        self.newer_names = {}
        self.syncs = {}

    def follow(self, journal):
        """All that is in the journal."""
        steps = {
            "w": lambda name, where, data: self.seen[name].write(where, data),
            "t": lambda name, where, _: self.seen[name].truncate(where),
            "c": lambda name, *_: self._rename({name: File()}),
            "m": lambda name, *_: self._rename({name: None}),
            "r": lambda name, _, new_name: self._rename({name: GONE, new_name.decode(): self.seen[name]}),
            "u": lambda name, *_: self._rename({name: GONE}),
            "s": self._begin_sync,
            "S": lambda name, number, _: self._end_sync(name, number),
            "F": lambda name, number, _: self._end_sync(name, number, self.chance),
        }
        for what, name, where, data in read_journal(journal):
            steps[what](name, where, data)

    def _rename(self, change):
        apply(self.seen, change)
        (folder,) = {name.rpartition("/")[0] for name in change}
        self.newer_names.setdefault(folder, []).append(change)

    def _begin_sync(self, name, number, _):
        file = self.seen.get(name)
        self.syncs[number] = file.begin_sync() if file else len(self.newer_names.get(name, ()))

    def _end_sync(self, name, number, failed=None):
        file, covered = self.seen.get(name), self.syncs.pop(number)
        if file:
            file.end_sync(covered, failed)
        elif not failed:
            self._names_reach_the_disk(name, covered)

    def _names_reach_the_disk(self, folder, count):
        changes = self.newer_names.get(folder, [])
        for change in changes[:count]:
            apply(self.on_disk, change)
        del changes[:count]

    def cut(self):
        """The folder holds what a disk would; answers how many sectors that were written are lost or not the newest."""
        for folder, changes in self.newer_names.items():
            self._names_reach_the_disk(folder, self.chance.randint(0, len(changes)))
        shutil.rmtree(self.root)
        self.root.mkdir(mode=0o700)
        # All of it, nothing of it, or anything in between.
        share = self.chance.choice([0, 1, self.chance.random()])
        taken = 0
        for name, file in sorted(self.on_disk.items()):
            path = self.root / name
            if not path.parent.is_dir():
                continue
            if file is None:
                path.mkdir(mode=0o700)
            else:
                left = file.cut(self.chance, share)
                taken += file.difference(left)
                path.write_bytes(left)
                path.chmod(0o600)
        return taken


def apply(names, change):
    """Makes a change of names."""
    for name, file in change.items():
        if file is GONE:
            names.pop(name, None)
        else:
            names[name] = file
