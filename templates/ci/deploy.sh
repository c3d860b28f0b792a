#!/usr/bin/env bash
# ci/deploy.sh: deploys the checked-out revision and proves it; if it is not proven, deploys the last proven one again.
#
# UP: the command that deploys the work tree. AGENT: lessee next to the agent, with its configuration.
# DEPLOY_TO: a name for the record of the last proven revision, which stays on the runner's machine.
# PREVIOUS: the revision to go back to if there is no record. PROOF_TIMEOUT: how long the apps may take (2m).
# VALIDATE: options of the last `lessee validate`, such as --fail-on warning.
#
# All of it is a function, because going back replaces this file while bash reads it.
set -euo pipefail

main() {
  local revision record proven
  revision=$(git rev-parse HEAD)
  record=${XDG_STATE_HOME:-$HOME/.local/state}/lessee-deploy
  mkdir -p "$record"
  record=$record/$(printf %s "${GITHUB_REPOSITORY:-${CI_PROJECT_PATH:-local}}-$DEPLOY_TO" | tr / -)
  proven=$(cat "$record" 2>/dev/null || printf %s "${PREVIOUS:-}")
  if deploy_and_prove; then
    printf %s "$revision" >"$record.new"
    mv "$record.new" "$record"
    say "$revision is deployed and proven"
    return 0
  fi
  say "$revision is NOT proven; the first failure is above"
  if [[ $proven = "$revision" ]]; then
    say "it was proven before, so going back does not help: a secret, the server or a database has changed"
  elif ! git rev-parse --quiet --verify "$proven^{commit}" >/dev/null; then
    say "no proven revision is known on this machine, so nothing was rolled back"
  else
    say "going back to $proven"
    git checkout --quiet --force --detach "$proven"
    if deploy_and_prove; then
      say "rolled back: $proven is deployed and proven. Rotated credentials stay; it works with them"
      return 1
    fi
    say "$proven is NOT proven either"
  fi
  say "go back manually, on this machine: git checkout --detach REVISION && $UP; see: $AGENT status"
  return 1
}

deploy_and_prove() {
  say "deploying $(git rev-parse --short HEAD): $UP"
  $UP || { say "failed: $UP"; return 1; }
  # The agents have what Vault has now, and each app is ready with it; the command names each one that is not.
  $AGENT status --wait "${PROOF_TIMEOUT:-2m}" || { say "failed: the apps are not ready"; return 1; }
  # With the logins of the apps, and on their machine.
  $AGENT validate ${VALIDATE:-} || { say "failed: validate"; return 1; }
}

say() {
  printf 'deploy: %s\n' "$*"
}

main
exit
