"""Copies of a coordinator: its database as of one moment, keys, certificates, terms, settings, schemas, nodes' keys.

A database of PostgreSQL is not in them: its own ``pg_dump`` copies it whole while others write. A coordinator's database may be older than what members remember: it decides nothing, and they prove what came later.
"""

import os
import shutil
import sqlite3
import tarfile
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from fedrepay.server import keyring
from fedrepay.server.admission import certificates, node_keys
from fedrepay.server.database import where
from fedrepay.server.network import superlink
from fedrepay.server.operating import founding, restored, settings
from fedrepay.shared.errors import ArgumentError, StorageError
from fedrepay.shared.trust import agreement

DATABASES = (where.FILE, superlink.DATABASE)
"""SQLite files, copied by SQLite itself while others write."""
FILES = (
    keyring.KEY,
    keyring.FOLLOWING,
    certificates.AUTHORITY,
    certificates.AUTHORITY_KEY,
    certificates.CERTIFICATE,
    certificates.KEY,
    superlink.SECRET,
    agreement.FILE,
    settings.FILE,
    "nginx.conf",
    "haproxy.cfg",
    founding.UNIT,
)
FOLDERS = (founding.SCHEMAS, node_keys.FOLDER)
MUST = (keyring.KEY, certificates.AUTHORITY, certificates.AUTHORITY_KEY, agreement.FILE, settings.FILE)
_LARGEST = 8 << 30  # bytes of what is restored
_MOST = 10_000  # files
ADVICE = (
    "What members say to an older database: one that knows a later roster gives it back, signed by all; a run whose number "
    "is in use is begun with a higher one, which their signed calls prove; an unfinished run of the copy is refused "
    "(`rollback`, `epoch`): `fedrepay coordinator abandon`, then train --new-run. Releases since the copy are with the "
    "members alone. Who was admitted or revoked since the copy is not known here: look at `members`, revoke again at once "
    "whom you revoked since, and admit again whom you admitted. Where the coordinator's key was changed since, members take "
    "nothing of the one in the copy: `fedrepay coordinator rotate-key`, and people compare words. Never let two copies of one coordinator serve."
)


def elsewhere(folder: Path) -> str:
    """What a copy of this folder lacks: PostgreSQL's database, and how that is copied and restored; else empty.

    Raises:
        ArgumentError: the settings name no database.
    """
    stated = where.stated(folder)
    if not stated:
        return ""
    url = where.postgres(stated, "database")
    host, port = url.host or url.query.get("host"), url.port or url.query.get("port")
    options = {"--host": host, "--port": port, "--username": url.username}
    whose = "".join(f"{name}={value} " for name, value in options.items() if value)
    return (
        f"Its database is not in it: {where.shown(url)}. Copy that at the same time: pg_dump --format=custom --no-owner "
        f"--file=coordinator.dump {whose}{url.database}. To restore both: this archive by `coordinator restore`; the dump by "
        f"pg_restore --no-owner {whose}--dbname=NAME coordinator.dump, into an empty database that coordinator.toml then names."
    )


def backup(folder: Path, out: Path) -> tuple[str, ...]:
    """Write an archive (tar, 0600); the names of what is in it.

    Raises:
        ArgumentError: the folder is no coordinator's, or the archive exists or would lie in the folder.
        StorageError: something cannot be read or written.
    """
    founding.terms_in(folder)
    if out.exists():
        raise ArgumentError(f"{out} is there already.", "Name a new file.")
    if folder.resolve() in out.resolve().parents:
        raise ArgumentError(f"{out} would lie in the folder that it copies.", "Name a file elsewhere.")
    if lacking := [name for name in MUST if not (folder / name).is_file()]:
        raise StorageError(f"{folder / lacking[0]} is not there.", "Restore it from an older backup first.")
    partial, names = out.with_name(f".{out.name}.partial"), list[str]()
    try:
        partial.unlink(missing_ok=True)  # of a process that was killed here
        with (
            os.fdopen(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file,
            TemporaryDirectory(dir=folder) as place,
        ):
            with tarfile.open(fileobj=file, mode="w") as archive:
                for name, path in _parts(folder, Path(place)).items():
                    archive.add(path, name, recursive=False, filter=_plain)
                    names.append(name)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, out)  # fails where there is one
    except (OSError, sqlite3.Error) as error:
        raise StorageError(
            f"{folder} cannot be copied: {error}.", "Free the disk or check rights."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return tuple(names)


def _parts(folder: Path, place: Path) -> dict[str, Path]:
    """File by its name in the archive; databases as copies of one moment."""
    found = {}
    for name in DATABASES:
        if (folder / name).is_file():
            copy = place / name
            with (
                closing(
                    sqlite3.connect(f"{(folder / name).absolute().as_uri()}?mode=ro", uri=True)
                ) as source,
                closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
            found[name] = copy
    found |= {name: folder / name for name in FILES if (folder / name).is_file()}
    for each in FOLDERS:
        for path in sorted((folder / each).glob("*")):
            if path.is_file() and not path.is_symlink():
                found[f"{each}/{path.name}"] = path
    return found


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nobody's name or number is in the archive."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o600
    return info


def restore(archive: Path, folder: Path) -> tuple[str, ...]:
    """Make a coordinator's folder again, whole or not at all; the names of what came back.

    Raises:
        ArgumentError: the folder holds something already, the archive is none of :func:`backup`, or a database in it
            is damaged, of another version, or of another consortium.
        StorageError: it cannot be read or written.
    """
    founding.check_new(folder)
    target = folder.absolute()
    unfinished: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        with tarfile.open(archive, "r:") as opened:
            names = _unpacked(opened, unfinished)
        if lacking := [name for name in MUST if name not in names]:
            raise ArgumentError(f"{archive} lacks {lacking[0]}.", "Name an archive of `coordinator backup`.")
        restored.check(unfinished)
        unfinished.rename(target)
    except tarfile.TarError as error:
        raise ArgumentError(
            f"{archive} is no archive: {error}.", "Name one of `coordinator backup`."
        ) from error
    except OSError as error:
        raise StorageError(
            f"{archive} cannot be restored: {error.strerror}.", "Check path, rights and disk."
        ) from error
    finally:
        if unfinished is not None and unfinished.exists():
            shutil.rmtree(unfinished)
    return names


def _unpacked(opened: tarfile.TarFile, folder: Path) -> tuple[str, ...]:
    """Files of known names alone, written 0600 by us: an archive may come from anywhere."""
    names, size = list[str](), 0
    for info in opened:
        inside, _, name = info.name.rpartition("/")
        known = info.name in (*FILES, *DATABASES) or (inside in FOLDERS and name and not name.startswith("."))
        size += info.size
        if not (known and info.isfile()) or info.name in names or size > _LARGEST or len(names) >= _MOST:
            raise ArgumentError(
                f"The archive holds {info.name[:100]!r}, which no backup does.",
                "Name one of `coordinator backup`.",
            )
        source = opened.extractfile(info)
        assert source is not None  # noqa: S101 - it is a file
        path = folder / info.name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
        names.append(info.name)
    return tuple(names)
