"""The command also has modules that only its child processes import, and the page of the gateway."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

datas = collect_data_files("unspool.serve")
hiddenimports = collect_submodules("unspool.cli")
