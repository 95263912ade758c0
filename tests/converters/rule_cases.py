"""The three examples decided in plain Python, from the real values of the facts: written without Balance's reader."""

from __future__ import annotations

from fractions import Fraction


def bank(x):  # noqa: C901, PLR0912 - as long as the scorecard
    """Return decision, score and the rules that fire."""
    points = []
    if x["age"] < 25:
        points.append(("AGE-1", Fraction(-12)))
    elif x["age"] < 40:
        points.append(("AGE-2", Fraction("8.5")))
    elif x["age"] <= 65:
        points.append(("AGE-3", Fraction(24)))
    else:
        points.append(("AGE-4", Fraction(17)))
    if x["months_in_job"] < 6:
        points.append(("JOB-1", Fraction(-20)))
    elif x["months_in_job"] < 36:
        points.append(("JOB-2", Fraction(5)))
    else:
        points.append(("JOB-3", Fraction("21.5")))
    home = ["rent", "own", "family", "other"][int(x["home"])]
    points.append(
        {"own": ("HOME-1", Fraction(28)), "other": ("HOME-3", Fraction(0))}.get(home, ("HOME-2", Fraction(9)))
    )
    if x["missed_payments"] == 0:
        points.append(("PAY-0", Fraction(45)))
    else:
        points.append(("PAY-1", Fraction(-15)) if x["missed_payments"] <= 2 else ("PAY-3", Fraction("-60.5")))
    if x["utilisation"] <= 30:
        points.append(("LINE-1", Fraction(25)))
    else:
        points.append(("LINE-2", Fraction("6.5")) if x["utilisation"] <= 80 else ("LINE-3", Fraction(-25)))
    if x["income"] >= 1500 and x["debt"] <= Fraction("0.2") * x["income"]:
        points.append(("BURDEN-LOW", Fraction(30)))
    if x["debt"] > Fraction("0.45") * x["income"]:
        points.append(("BURDEN-HIGH", Fraction(-40)))
    if x["customer"] and x["missed_payments"] < 2:
        points.append(("LOYAL", Fraction(10)))
    score = 480 + sum(value for _, value in points)
    policy = []
    if x["age"] < 18:
        policy.append(("POL-MINOR", "decline"))
    if x["bankrupt"]:
        policy.append(("POL-BANKRUPT", "decline"))
    if x["debt"] > x["income"] and not x["customer"]:
        policy.append(("POL-BURDEN", "decline"))
    if x["months_in_job"] < 3 and x["income"] > 10000:
        policy.append(("POL-NEW", "refer"))
    if policy:
        decision = policy[0][1]
    else:
        decision = "approve" if score >= 600 else "refer" if score >= Fraction("550.5") else "decline"
    return decision, score, {name for name, _ in points + policy}


def sensors(x):
    """Return decision, score and the rules that fire."""
    mode = ["normal", "service", "storm"][int(x["mode"])]
    rise = x["water"] - x["water_before"]
    rows = [
        ("TAMPER", x["tamper"] and mode != "service", "alarm_tamper", 100),
        ("FLAT", x["battery"] < Fraction("10.5"), "shut_down", 95),
        ("FLOOD", x["water"] >= 3200, "alarm_flood", 90),
        ("RISING", rise >= 150 and x["water"] > 1800, "alarm_flood", 85),
        (
            "STORM",
            x["wind"] >= Fraction("24.5") or x["gust"] >= 35 or (mode == "storm" and x["gust"] >= Fraction("28.5")),
            "alarm_storm",
            70,
        ),
        ("WATCH-WATER", rise >= 60 or x["water"] >= 2500, "sample_fast", 45),
        (
            "STORM-COMING",
            x["gust"] > Fraction("1.6") * x["wind"] + 5 and x["humidity"] >= 85 and mode != "service",
            "sample_fast",
            40,
        ),
        ("ICE", -3 <= x["temperature"] <= 1 and x["humidity"] > 90, "sample_fast", 30),
        ("SAVE", x["battery"] < Fraction("11.8") and x["solar"] < 5, "sleep", 10),
        ("COLD", x["temperature"] < -25, "sleep", 10),
    ]
    met = [row for row in rows if row[1]]
    decision, score = (met[0][2], met[0][3]) if met else ("sample", 0)
    return decision, Fraction(score), {row[0] for row in met}


def _rounded(x: Fraction) -> Fraction:
    """Return thousandths, half up (x is not negative)."""
    return Fraction((2000 * x + 1).__floor__() // 2, 1000)


def _both(x: Fraction, y: Fraction) -> Fraction:
    return x + y - _rounded(x * y)


def clinic(x):
    """Return decision, score and the rules that fire."""

    def true(held):
        return Fraction(1) if held else Fraction(-1)

    known: dict[str, Fraction] = {}
    fired = set()

    def conclude(name, *rules):
        pro = contra = Fraction(0)
        for identifier, premise, certainty in rules:
            if premise >= Fraction("0.2"):
                fired.add(identifier)
                part = _rounded(abs(Fraction(certainty)) * premise)
                if Fraction(certainty) > 0:
                    pro = _both(pro, part)
                else:
                    contra = _both(contra, part)
        known[name] = pro - contra

    hot, crp, white = x["temperature"], x["crp"], x["white_cells"]
    neck, rash, light = x["stiff_neck"], x["rash"], x["light_hurts"]
    conclude(
        "infection",
        ("INF-1", true(hot >= 38), "0.6"),
        ("INF-2", true(crp >= 10), "0.5"),
        ("INF-3", true(hot < Fraction("37.2") and crp < 5), "-0.7"),
    )
    conclude(
        "bacterial",
        ("BAC-1", min(known["infection"], true(white > 12)), "0.7"),
        ("BAC-2", min(known["infection"], true(crp >= 100)), "0.6"),
        ("BAC-3", true(white <= 8), "-0.5"),
    )
    conclude(
        "influenza",
        ("FLU-1", min(known["infection"], true(x["cough"]), true(x["days"] <= 7)), "0.5"),
        ("FLU-2", true(x["contact"] and hot >= Fraction("38.5")), "0.6"),
        ("FLU-3", true(x["vaccinated"]), "-0.4"),
        ("FLU-4", known["bacterial"], "-0.3"),
    )
    conclude(
        "common_cold",
        ("COLD-1", min(true(x["cough"]), true(hot < 38), -max(neck, rash)), "0.65"),
        ("COLD-2", true(x["days"] > 10), "-0.4"),
    )
    conclude(
        "meningitis",
        ("MEN-1", min(neck, known["infection"]), "0.7"),
        ("MEN-2", min(neck, max(light, rash)), "0.6"),
        ("MEN-3", min(known["bacterial"], neck), "0.5"),
        ("MEN-4", min(-neck, true(hot < 38)), "-0.8"),
    )
    conclude(
        "sinusitis",
        ("SIN-1", min(known["bacterial"], true(x["days"] > 7)), "0.6"),
        ("SIN-2", true(x["days"] < 4), "-0.5"),
    )
    causes = ["influenza", "common_cold", "meningitis", "sinusitis"]
    best = max(known[name] for name in causes)
    red = []
    if rash >= Fraction("0.8") and hot >= 39 and neck >= Fraction("0.5"):
        red.append("RED-1")
    if x["age"] < 1 and hot >= 38:
        red.append("RED-2")
    if red:
        decision = "emergency"
    elif best >= Fraction("0.45"):
        decision = next(name for name in causes if known[name] == best)
    else:
        decision = "observe"
    return decision, best, fired | set(red)
