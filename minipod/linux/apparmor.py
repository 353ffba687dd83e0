"""AppArmor: whether this kernel enforces profiles (Documentation/admin-guide/LSM/apparmor.rst)."""

from pathlib import Path

ENABLED = Path("/sys/module/apparmor/parameters/enabled")


def is_enabled() -> bool:
    """Tell whether AppArmor is compiled in and switched on."""
    try:
        return ENABLED.read_text().startswith("Y")
    except OSError:
        return False
