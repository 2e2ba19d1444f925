"""What all `hashslot cluster` commands take and how they end: connection options, names of nodes, errors as one line.

Only click is imported before a command runs: `hashslot --help` has to stay quick.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from node.admin.link import Access

Command = TypeVar("Command", bound=Callable[..., Any])

AUTH_VARIABLES = ["HASHSLOT_AUTH", "REDISCLI_AUTH"]
INTERRUPTED_STATUS = 130


def to_hosts(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """For arguments that are HOST:PORT, one or several."""
    from node.admin.link import parse_host

    try:
        return tuple(map(parse_host, value)) if isinstance(value, tuple) else parse_host(value)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from None


CLUSTER = click.argument("entry", metavar="CLUSTER", callback=to_hosts)
"""Any node of the cluster."""

_ACCESS_OPTIONS = [
    click.option("-a", "--password", envvar=AUTH_VARIABLES, help="Password  [env: HASHSLOT_AUTH, REDISCLI_AUTH]"),
    click.option("--user", default="", help="User of that password; without it the default user."),
    click.option("--askpass", is_flag=True, help="Ask for the password."),
    click.option("--tls", is_flag=True, help="Talk TLS to the nodes."),
    click.option("--cacert", type=click.Path(exists=True), help="Certificates of the authorities to trust."),
    click.option("--cacertdir", type=click.Path(exists=True), help="Directory of such certificates."),
    click.option("--cert", type=click.Path(exists=True), help="Own certificate."),
    click.option("--key", type=click.Path(exists=True), help="Key of the own certificate."),
    click.option("--insecure", is_flag=True, help="Take any certificate for valid."),
    click.option("--timeout", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Seconds for an answer."),
]


def command(group: click.Group, name: str, **facts: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A command of the group that takes `access` as its first argument and ends as all do, whatever goes wrong."""

    def declare(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def run(**given: Any) -> None:
            access = _access(given)
            _in_order(name, lambda: function(access, **given))

        # Below the command's own options in its help: click lists what was declared last first.
        own = getattr(function, "__click_params__", [])
        wrapped: Any = run
        wrapped.__click_params__ = []
        for option in reversed(_ACCESS_OPTIONS):
            wrapped = option(wrapped)
        wrapped.__click_params__ += own
        return group.command(name, **facts)(wrapped)

    return declare


def _access(given: dict[str, Any]) -> Access:
    from node.admin.link import Access

    tls, insecure = given.pop("tls"), given.pop("insecure")
    certificates = {
        "ssl_ca_certs": given.pop("cacert"), "ssl_ca_path": given.pop("cacertdir"),
        "ssl_certfile": given.pop("cert"), "ssl_keyfile": given.pop("key"),
    }
    options: dict[str, Any] = {name: value for name, value in certificates.items() if value}
    if (options or insecure) and not tls:
        raise click.UsageError("--cacert, --cacertdir, --cert, --key and --insecure go with --tls")
    if insecure:
        options |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    password, ask = given.pop("password"), given.pop("askpass")
    if ask:
        password = click.prompt("Password", hide_input=True, err=True)
    return Access(given.pop("user"), password or "", given.pop("timeout"), options if tls else None)


def _in_order(name: str, run: Callable[[], None]) -> None:
    """Run the command; what goes wrong becomes one line and an exit status: 1, or 2 for what was typed wrong."""
    from cluster.admin.moves import MoveError
    from cluster.admin.picture import UnknownName
    from node.admin.interrupt import Interrupted
    from node.admin.link import AdminError

    try:
        run()
    except (UnknownName, MoveError) as error:
        fail(name, str(error), 2)
    except AdminError as error:
        fail(name, str(error), 1)
    except Interrupted as error:
        fail(name, str(error), INTERRUPTED_STATUS)
    except KeyboardInterrupt:
        fail(name, "interrupted; run it again to go on, or `fix` to put right what was left", INTERRUPTED_STATUS)


def fail(name: str, text: str, status: int) -> None:
    """End with one line on standard error."""
    click.echo(f"hashslot cluster {name}: {text}", err=True)
    sys.exit(status)


def add_options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator."""

    def decorate(function: Command) -> Command:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


PLAN_OPTIONS = add_options(
    click.option("--yes", "-y", is_flag=True, help="Go on without asking."),
    click.option("--dry-run", "-n", is_flag=True, help="Only show what would be done."),
)


def go_on(yes: bool, dry_run: bool, question: str = "Go on?") -> bool:
    """Whether the plan that was just shown is to be carried out. Asks, unless it was said before."""
    if dry_run:
        click.echo("Dry run: nothing was changed.")
        return False
    if yes:
        return True
    try:
        agreed = click.confirm(question)
    except click.Abort:
        click.echo()
        agreed = False
    if not agreed:
        click.echo("Nothing was changed. (--yes goes on without asking.)", err=True)
        sys.exit(1)
    return True
