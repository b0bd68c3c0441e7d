"""A server on a disk whose power is cut."""

from disk import server_on_a_disk
from power import PowerCut


class Machine:
    """A server on a disk whose power can be cut."""

    def __init__(self, library, folder, **environment):
        self.journal = folder / "journal"
        self.server, self.disk = server_on_a_disk(library, folder, journal=self.journal, **environment)

    def switch_on(self, seed):
        """All that is in the folder is on the disk."""
        self.journal.unlink(missing_ok=True)
        self.power = PowerCut(self.server.data_dir, seed)

    def starts(self):
        """Whether the server starts: the disk may kill it on the way."""
        try:
            self.server.start()
        except AssertionError:
            assert self.disk.has_struck()
            return False
        return True

    def cut(self):
        """The power is gone, and with it the process and what the disk does not hold: so many sectors."""
        self.server.kill9()
        self.disk.spare()
        self.power.follow(self.journal)
        return self.power.cut()

    def off(self):
        """The end of a test."""
        if self.server.is_running():
            self.server.kill9()
