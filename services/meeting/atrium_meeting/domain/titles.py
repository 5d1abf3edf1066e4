"""Chinese titles: what stands behind a surname where somebody is called by it."""

from __future__ import annotations

from typing import Final

TITLES_ZH: Final = tuple(
    sorted(
        "总 工 哥 姐 董 "
        "先生 女士 小姐 师傅 阿姨 同学 "
        "老师 教授 博士 校长 院长 医生 大夫 律师 会计 秘书 工程师 "
        "经理 主管 总监 主任 主席 书记 部长 局长 所长 处长 科长".split(),
        key=lambda title: (-len(title), title),
    )
)
"""Longest first, as an expression has to try them."""
TITLE_ZH: Final = f"(?:{'|'.join(TITLES_ZH)})"
"""An expression that matches one of them."""
