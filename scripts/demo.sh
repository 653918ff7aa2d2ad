#!/bin/sh
# Shows the whole product on a bucket of invented patients: make demo
# Everything it makes lies in $DEMO (default: demo); `make clean` removes it.
set -eu
umask 027 # Dagster's own files, as those of the warehouse: for owner and group alone
cd "$(dirname "$0")/.."
DEMO=${DEMO:-demo}
export DAGSTER_HOME="$PWD" CHEST_SOURCE="$DEMO/bucket" CHEST_LAKE="$DEMO/lake" CHEST_MANIFESTS="$DEMO/manifests"
export COLUMNS="${COLUMNS:-80}"
log="$DEMO/refresh.log"

title() {
    printf '\n── %s\n' "$1"
}

# Print a command as a user would type it, then run it.
show() {
    printf '\n$ %s\n' "$1"
    shift
    "$@"
}

# Print only the lines of Dagster's log from steps and checks, as they come.
steps() {
    while IFS= read -r line; do
        case $line in
        *" - INFO - refresh - "*)
            message=${line##* - }
            step=${line% - *}
            printf '  %-10s %s\n' "${step##* - }" "$message"
            ;;
        esac
    done
}

refresh() {
    dagster job execute -m pipelines.definitions -j refresh 2>&1 || echo "exit code $?"
}

title "1. A bucket: invented patients, keys and headers as in the real one"
if [ -f "$CHEST_SOURCE/truth.json" ]; then
    printf '\n%s is there from last time.\n' "$CHEST_SOURCE"
else
    show "chest sample $CHEST_SOURCE --patients 40 --seed 1" \
        chest sample "$CHEST_SOURCE" --patients 40 --seed 1 --quiet
fi

title "2. Refresh: Dagster runs the four steps from bucket to lake, then the checks"
printf '\n$ dagster job execute -m pipelines.definitions -j refresh\n'
refresh | tee "$log" | steps
if grep -q '^exit code ' "$log"; then
    printf '\nThe refresh failed. The end of %s:\n\n' "$log" >&2
    tail -n 20 "$log" >&2
    # Dagster repeats the reason above a long stack; it is printed last, where it is seen.
    printf '\n%s\n' "$(sed -n 's/^dagster.*\.Failure: /Reason: /p' "$log" | tail -n 1)" >&2
    exit 1
fi

title "3. What is in the lake"
show "chest status" chest status

title "4. One question, two days: what was known then?"
question='
  select covid_status, count(*) patients, sum(n_ct) ct, sum(n_cr + n_dx) xray
  from patients group by all order by all'
show "chest sql --as-of 2020-07-01 \"$question\"" chest sql --as-of 2020-07-01 "$question"
show "chest sql --as-of 2021-06-30 \"…the same…\"" chest sql --as-of 2021-06-30 "$question"

title "5. One patient: what happened, and since when it is known"
# Somebody with a changing record, CT and X-rays, whose story fits on a screen.
patient=$(chest sql --format csv '
    select patient_id
    from patients join (select patient_id, count(*) files from clinical_history group by all) using (patient_id)
    order by least(files, 2) desc, n_ct > 0 desc, n_cr + n_dx > 0 desc, n_studies > 9, n_studies desc, patient_id
    limit 1' | tail -n 1)
show "chest patient $patient" chest patient "$patient"

title "Where to go next"
cat <<END

  chest explore     a page on this lake, in the browser: facets, patients, cohorts, as of any day
  README.md         what else it answers, and how to point it at your own bucket
  make dev          Dagster's UI, and a refresh that runs by itself: http://localhost:3000
  chest --help      first:  . .venv/bin/activate; export CHEST_LAKE=$CHEST_LAKE
END

# Offered to a person alone: a script that runs the demo has no terminal, and must end.
if [ -t 0 ] && [ -t 1 ]; then
    printf '\nOpen the page now (chest explore)? [y/N] '
    read -r answer || answer=
    case $answer in
    [yY]*) exec chest explore ;;
    esac
fi
