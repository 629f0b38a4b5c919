# The prompt of NixOS (nixos/modules/programs/bash/bash.nix): it has colours, a window title and an empty line.
[ -n "$PS1" ] || return
PROMPT_COLOR="1;31m"
((UID)) && PROMPT_COLOR="1;32m"
PS1="\n\[\033[$PROMPT_COLOR\][\[\e]0;\u@\h: \w\a\]\u@\h:\w]\\$\[\033[0m\] "
